--- Calls of `nova-kms recovery` to a node. A node that is busy, or limits an address that custodians share, is called
-- again when its Retry-After says.

local fetch = require("kms.http.fetch")
local loop = require("kms.base.loop")
local retry_after = require("kms.http.retry_after")
local session = require("kms.cli.session")

local M = {}

local BUSY = { [429] = true, [503] = true } -- HTTP statuses
local MAX_WAIT_S = 300 -- of all waits of a call
local FIRST_S = 1 -- of waits that double where the node asks for less
local NO_CUSTODIANS = ": a node without RECOVERY has no custodians"

--- The base of a URL, without a slash at its end.
function M.base(url)
	return (url:gsub("/+$", ""))
end

-- The seconds that a response asks to wait | nil: it is no such response.
local function asked_s(response)
	return BUSY[response.status] and retry_after.seconds(response.headers) or nil
end

--- Makes a request. Yields.
-- @param world  stderr; @param parsed  url, timeout (seconds)
-- @param path  with its query; @param more  further options of kms.http.fetch
-- @return response, whatever its status | nil, message, code
function M.send(world, parsed, path, more)
	local options = { url = M.base(parsed.url) .. path, timeout_ms = parsed.timeout * 1000 }
	for name, value in pairs(more) do options[name] = value end
	local waited_s, least_s = 0, FIRST_S
	while true do
		local response, message, code = fetch.request(options)
		if not response then return nil, message, code end
		local wait_s = asked_s(response)
		if not wait_s then return response end
		wait_s = math.max(wait_s, least_s)
		waited_s, least_s = waited_s + wait_s, least_s * 2
		if waited_s > MAX_WAIT_S then return response end
		world.stderr:write(("nova-kms: the node is busy (HTTP %d): asking again in %d s\n"):format(response.status, wait_s))
		loop.sleep(wait_s * 1000)
	end
end

--- Makes a request that must be answered with 200. Yields.
-- @return response of M.send; its field `value` is the body as JSON, nil where it is none | nil, message, code
function M.request(world, parsed, path, more)
	local response, message, code = M.send(world, parsed, path, more)
	if not response then return nil, message, code end
	response.value = fetch.decode(response.body)
	if response.status == 200 then return response end
	local said = session.table_of(response.value).message
	local why = session.shown(said or ("HTTP %d"):format(response.status))
	return nil, ("the node refused: %s%s"):format(why, response.status == 404 and NO_CUSTODIANS or ""), "ERR_REFUSED"
end

return M
