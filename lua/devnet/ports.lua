--- Ports of a devnet on 127.0.0.1: the chain's, one a node, and one a TEE service.

local loop = require("kms.base.loop")
local uv = require("luv")

local M = {}

--- The most nodes that fit between a base port and the TEE services' ports.
M.MAX_NODES = 16

local ODYN_OFFSET = 50

-- Listens, so that a port in use shows; the caller closes.
local function take(port)
	local tcp = uv.new_tcp()
	local ok, message = tcp:bind("127.0.0.1", port)
	if ok then ok, message = tcp:listen(1, function() end) end
	if ok then return tcp, tcp:getsockname().port end
	loop.close(tcp)
	return nil, message
end

-- Whether all of these can be listened on at once: what was found (0 becomes a port).
local function take_all(list)
	local taken, found, failure = {}, {}, nil
	for i, port in ipairs(list) do
		taken[i], found[i] = take(port)
		if not taken[i] then
			failure = ("port %d of 127.0.0.1 is not free (%s)"):format(port, found[i])
			break
		end
	end
	for _, tcp in ipairs(taken) do loop.close(tcp) end
	if failure then return nil, failure end
	return found
end

-- As one list, and back.
local function flat(ports)
	local list = { ports.chain }
	table.move(ports.nodes, 1, #ports.nodes, 2, list)
	return table.move(ports.odyn, 1, #ports.odyn, #list + 1, list)
end

local function layout(list, nodes)
	return {
		chain = list[1],
		nodes = table.move(list, 2, 1 + nodes, 1, {}),
		odyn = table.move(list, 2 + nodes, 1 + 2 * nodes, 1, {}),
	}
end

--- Checks that nobody listens on these ports; 0 stands for any free one.
-- @param ports  { chain, nodes = { ... }, odyn = { ... } }
-- @return ports | nil, message
function M.check(ports)
	local found, message = take_all(flat(ports))
	if not found then return nil, message end
	return layout(found, #ports.nodes)
end

--- Chooses ports that nobody listens on.
-- @param base  the chain's; nodes follow, TEE services stand from base + 51 on; 0: any free ones
-- @return as check
function M.plan(base, nodes)
	local ports = { chain = base, nodes = {}, odyn = {} }
	for i = 1, nodes do
		ports.nodes[i] = base == 0 and 0 or base + i
		ports.odyn[i] = base == 0 and 0 or base + ODYN_OFFSET + i
	end
	return M.check(ports)
end

return M
