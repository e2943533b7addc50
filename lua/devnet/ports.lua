--- Ports of a devnet on 127.0.0.1: one for the chain, one for an S3 server; for each node one of its own, one of its
-- metrics and status page, and one of its fake Odyn service.

local loop = require("kms.base.loop")
local uv = require("luv")

local M = {}

--- Most nodes of a devnet.
M.MAX_NODES = 16

local METRICS_OFFSET, S3_OFFSET, ODYN_OFFSET = 20, 40, 50

-- Listens on a port, to find out whether it is in use. The caller closes the handle.
-- Returns handle, port | nil, message.
local function take(port)
	local tcp = uv.new_tcp()
	local ok, message = tcp:bind("127.0.0.1", port)
	if ok then ok, message = tcp:listen(1, function() end) end
	if ok then return tcp, tcp:getsockname().port end
	loop.close(tcp)
	return nil, message
end

-- Listens on all ports at once, then closes them. Returns the ports (0 becomes a free one) | nil, message.
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

-- flat: the ports as one list; layout: the list as ports again.
local function flat(ports)
	local list = { ports.chain, ports.s3 or 0 }
	table.move(ports.nodes, 1, #ports.nodes, 3, list)
	table.move(ports.odyn, 1, #ports.odyn, #list + 1, list)
	for i = 1, #ports.nodes do list[#list + 1] = ports.metrics and ports.metrics[i] or 0 end
	return list
end

local function layout(list, nodes)
	return {
		chain = list[1], s3 = list[2],
		nodes = table.move(list, 3, 2 + nodes, 1, {}),
		odyn = table.move(list, 3 + nodes, 2 + 2 * nodes, 1, {}),
		metrics = table.move(list, 3 + 2 * nodes, 2 + 3 * nodes, 1, {}),
	}
end

--- Checks that these ports are free; 0 stands for any free port.
-- @param ports  { chain, s3, nodes = { ... }, odyn = { ... }, metrics = { ... } }; without s3 and metrics: any for them
-- @return ports | nil, message
function M.check(ports)
	local found, message = take_all(flat(ports))
	if not found then return nil, message end
	return layout(found, #ports.nodes)
end

--- Chooses free ports.
-- @param base  port of the chain; nodes follow, their metrics begin at base + 21, the S3 server has base + 40, Odyn
--   services begin at base + 51; 0: any free ports
-- @param nodes  number of nodes
-- @return as check()
function M.plan(base, nodes)
	local ports = { chain = base, s3 = base == 0 and 0 or base + S3_OFFSET, nodes = {}, odyn = {}, metrics = {} }
	for i = 1, nodes do
		ports.nodes[i] = base == 0 and 0 or base + i
		ports.metrics[i] = base == 0 and 0 or base + METRICS_OFFSET + i
		ports.odyn[i] = base == 0 and 0 or base + ODYN_OFFSET + i
	end
	return M.check(ports)
end

return M
