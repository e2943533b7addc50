--- Lets pages of chosen origins call this server from browsers (Fetch Standard, "CORS protocol"). Without this,
-- browsers let a page call its own origin alone. It protects the users of pages from other pages, and gives nobody a
-- right: callers prove who they are by signatures, as without it. No cookies play a part: no credentials are allowed.

local M = {}

local Cors = {}
Cors.__index = Cors

local REQUEST_HEADERS = "Content-Type, X-App-Nonce, X-App-Signature, X-App-Timestamp, X-App-Wallet"
local RESPONSE_HEADERS = "Date, Retry-After, X-KMS-Next-Nonce, X-KMS-Response-Signature, X-KMS-Session-Signature"
local MAX_AGE_S = "600" -- how long browsers remember the answer to a preflight

-- A preflight is answered as OPTIONS always is; this says what may follow it.
local function allow(headers, request, reply)
	if request.method ~= "OPTIONS" or reply.status ~= 204 then return end
	headers["Access-Control-Allow-Methods"] = reply.headers.Allow
	headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
	headers["Access-Control-Max-Age"] = MAX_AGE_S
end

--- The headers of a reply, for a page that may read it.
-- @param request  of kms.http.request
-- @param reply  status, headers (unchanged)
-- @return headers
function Cors:headers(request, reply)
	local origin, count = request:header("origin")
	local headers = { Vary = "Origin" }
	for name, value in pairs(reply.headers or {}) do headers[name] = name == "Vary" and value .. ", Origin" or value end
	if count ~= 1 or not self.origins[origin] then return headers end
	headers["Access-Control-Allow-Origin"] = origin
	headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
	allow(headers, request, reply)
	return headers
end

--- @param origins  list of texts as browsers write them: "https://app.example"
-- @return self | nil: there are none, and replies stay as they are
function M.new(origins)
	if #origins == 0 then return nil end
	local set = {}
	for _, origin in ipairs(origins) do set[origin] = true end
	return setmetatable({ origins = set }, Cors)
end

return M
