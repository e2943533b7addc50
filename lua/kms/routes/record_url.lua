--- What the URL of GET /kms/data names: a record's key, a page of a listing, or neither (docs/protocol.md section 8).

local native = require("kms_native")

local M = {}

local MAX_LIMIT = 10000 -- keys of a page

-- Returns the decoded value, or nil where there is none | nil, message.
local function parameter(query, name)
	local value, detail = native.http_query(query, name)
	if value and detail > 1 then return nil, ("parameter %s is given twice"):format(name) end
	if not value and type(detail) == "string" then return nil, ("parameter %s: %s"):format(name, detail) end
	return value
end

--- The record's key: the path behind /kms/data/, or ?key=.
-- @return key | nil where none is named | nil, message
function M.key(inbound)
	if inbound.rest then return native.percent_decode(inbound.rest, false) end
	local query = inbound.request.query
	if not query then return nil end
	return parameter(query, "key")
end

--- The page that ?prefix=, ?after= and ?limit= ask for.
-- @return { prefix, after, limit } as service:request takes it | nil where none of them is there | nil, message
function M.page(inbound)
	local query = inbound.request.query
	if not query then return nil end
	local page = {}
	for _, name in ipairs({ "prefix", "after", "limit" }) do
		local value, message = parameter(query, name)
		if message then return nil, message end
		page[name] = value
	end
	if next(page) == nil then return nil end
	if not page.limit then return page end
	local limit = page.limit:find("^%d%d?%d?%d?%d?$") and math.tointeger(tonumber(page.limit))
	if not limit or limit < 1 or limit > MAX_LIMIT then
		return nil, ("parameter limit is a number from 1 to %d"):format(MAX_LIMIT)
	end
	page.limit = limit
	return page
end

return M
