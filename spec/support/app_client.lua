--- An application of a devnet that calls nodes through kms.client, and reads values while nodes are killed or busy.
-- Calls yield.

local client = require("kms.client")
local files = require("spec.support.files")
local loop = require("kms.base.loop")
local native = require("kms_native")
local uv = require("luv")

local M = {}

local READ_S, READ_AGAIN_MS = 60, 200 -- a node on a busy machine may not serve for a while
local ABSENT = 404 -- HTTP status

--- A client of one node.
-- @param app of a devnet; @param timeout_ms of each request
function M.connect(node, app, timeout_ms)
	return assert(client.open({
		url = node.url, seed = app.seed, node_wallet = node.wallet, node_pubkey = native.hex_encode(node.tee_pubkey),
		timeout_ms = timeout_ms,
	}))
end

-- The value of an exchange, read through a file: the client never gives values to Lua.
local function value_of(exchange, scratch)
	local fd = assert(uv.fs_open(scratch, "w+", 384))
	assert(exchange:write(fd, "raw"))
	uv.fs_close(fd)
	return files.read(scratch)
end

--- Reads a record, again while the node does not answer.
-- @param connection of M.connect; @param scratch path of a file that may be overwritten
-- @return the value | nil: there is none | false, why the node did not answer
function M.read(connection, key, scratch)
	local deadline = uv.hrtime() + READ_S * 1e9
	while true do
		local result, message, _, status = connection:call("get", { key = key })
		if result then return value_of(result.exchange, scratch) end
		if status == ABSENT then return nil end
		if uv.hrtime() > deadline then return false, message end
		loop.sleep(READ_AGAIN_MS)
	end
end

return M
