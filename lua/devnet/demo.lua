--- The table that a new devnet shows: each application has the same key on every node, and a value
-- written on one node can be read on the others. Keys are shown by their fingerprints; the value
-- goes from guarded memory to the output.

local client = require("kms.client")
local loop = require("kms.base.loop")
local native = require("kms_native")
local uv = require("luv")

local M = {}

local STDOUT = 1 -- descriptor of world.stdout
local PATH, KEY, VALUE = "wallet/root", "demo/greeting", "hello"
local READ_S, POLL_MS = 20, 100
local COLUMN = "%-10s"

local function connect(node, app)
	return client.open({
		url = node.url, seed = app.seed, node_wallet = node.wallet, node_pubkey = native.hex_encode(node.tee_pubkey),
	})
end

local function call(node, app, kind, fields)
	local connection, message = connect(node, app)
	if not connection then return nil, message end
	local result
	result, message = connection:call(kind, fields)
	connection:close()
	return result, message
end

--- The fingerprint of an application's key on a node.
-- @return text | nil, message
function M.fingerprint(node, app)
	local result, message = call(node, app, "derive", { path = PATH })
	if not result then return nil, ("node %d does not derive a key: %s"):format(node.index, message) end
	return result.exchange:fingerprint()
end

-- Waits until a node has the value written at `stamp_ms`.
-- Returns { exchange, seconds } | nil, message.
local function read(node, app, stamp_ms)
	local begun = uv.hrtime()
	while true do
		local result, message = call(node, app, "get", { key = KEY })
		local seconds = (uv.hrtime() - begun) / 1e9
		if result and result.updated_at_ms == stamp_ms then return { exchange = result.exchange, seconds = seconds } end
		if seconds > READ_S then
			local why = result and "it has an older value" or message
			return nil, ("node %d does not have the value of node 1: %s"):format(node.index, why)
		end
		loop.sleep(POLL_MS)
	end
end

local function print_head(world, apps)
	local parts = { COLUMN:format("") }
	for i, app in ipairs(apps) do parts[i + 1] = ("key of %-8s"):format(app.name) end
	world.stdout:write("\n", table.concat(parts, "  "), "  value of ", apps[1].name, "\n")
end

-- Prints the keys on a node and compares them with those of the nodes before.
-- @param seen  fingerprints by application, filled by the first node
local function print_keys(world, node, apps, seen)
	world.stdout:write(COLUMN:format("node " .. node.index))
	for i, app in ipairs(apps) do
		local text, message = M.fingerprint(node, app)
		if not text then return nil, message end
		seen[i] = seen[i] or text
		if seen[i] ~= text then return nil, ("the key of %s differs on node %d"):format(app.name, node.index) end
		world.stdout:write(("  %-15s"):format(text))
	end
	return true
end

local function print_value(world, node, app, stamp_ms)
	local found, message = read(node, app, stamp_ms)
	if not found then return nil, message end
	world.stdout:write("  ")
	world.stdout:flush() -- the value bypasses Lua's buffer
	local ok
	ok, message = found.exchange:write(STDOUT, "raw")
	if not ok then return nil, message end
	world.stdout:write(node.index == 1 and " (written here)" or (" (read here after %.1f s)"):format(found.seconds), "\n")
	return true
end

--- Prints the table.
-- @return true | nil, message: the nodes do not agree
function M.run(net, world)
	local apps, seen = net.apps, {}
	local put, message = call(net.nodes[1], apps[1], "put", { key = KEY, value = VALUE })
	if not put then return nil, "node 1 does not store a value: " .. message end
	print_head(world, apps)
	for _, node in ipairs(net.nodes) do
		local ok
		ok, message = print_keys(world, node, apps, seen)
		if ok then ok, message = print_value(world, node, apps[1], put.updated_at_ms) end
		if not ok then return nil, message end
	end
	world.stdout:write("\n", ("Keys are those of the path %s, shown by the first digits of their SHA-256: the same on "
		.. "every node,\ndifferent for each application. The value was written on node 1 only.\n"):format(PATH))
	return true
end

return M
