--- Nodes of a devnet in network namespaces of their own, so that links between them can be cut: packets are lost, as
-- in a partition, and nobody is told. Runs only inside `unshare` (spec/cluster/partition_spec.lua), where nothing that
-- it changes is the machine's.
--
-- A node serves at one address and calls from another, so that the way of its calls to one node can be cut alone.
-- Addresses of peers are fixed in each namespace. A link is cut by a hardware address that nobody has.

local M = {}

local CHAIN, HUB = "10.66.0.253", "10.66.0.254"
local METRICS_PORT = 9464
local CHAIN_HARDWARE, NOBODY = "02:00:00:00:00:fe", "02:00:00:00:00:99"

local function sh(format, ...)
	local command = format:format(...)
	if not os.execute(command) then error("failed: " .. command, 2) end
end

local function address_of(index) return "10.66.0." .. index end
local function caller_of(index) return "10.66.1." .. index end
local function hardware_of(index) return "02:00:00:00:00:0" .. index end

-- Sets where packets of a node to an address go.
local function neighbour(index, address, hardware)
	sh("ip -n n%d neigh replace %s lladdr %s dev eth0 nud permanent", index, address, hardware)
end

local function add_node(index)
	sh("ip netns add n%d", index)
	sh("ip link add v%d type veth peer name eth0 address %s netns n%d", index, hardware_of(index), index)
	sh("ip link set v%d master hub up", index)
	sh("ip -n n%d addr add %s/16 dev eth0", index, caller_of(index)) -- the first one is that of calls
	sh("ip -n n%d addr add %s/32 dev eth0", index, address_of(index))
	for _, device in ipairs({ "lo", "eth0" }) do sh("ip -n n%d link set %s up", index, device) end
end

local function wrap(node, dir)
	local path = ("%s/node%d"):format(dir, node.index)
	local file = assert(io.open(path, "w"))
	file:write(("#!/bin/sh\nexec nsenter --net=/run/netns/n%d '%s' \"$@\"\n"):format(node.index, node.program))
	file:close()
	sh("chmod 700 '%s'", path)
	return path
end

--- Puts the nodes of a devnet that was not started yet into namespaces; its chain stays in this one. Each node gets the
-- field metrics_url.
function M.prepare(net)
	sh("ip link set lo up")
	sh("ip link add hub address %s type bridge", CHAIN_HARDWARE)
	sh("ip addr add %s/16 dev hub", HUB)
	sh("ip addr add %s/16 dev hub", CHAIN)
	sh("ip link set hub up")
	for _, node in ipairs(net.nodes) do
		add_node(node.index)
		node.program = wrap(node, net.dir)
		node.url = ("http://%s:%d"):format(address_of(node.index), node.port)
		node.metrics_url = ("http://%s:%d/metrics"):format(address_of(node.index), METRICS_PORT)
		local settings = {
			BIND_ADDR = ("%s:%d"):format(address_of(node.index), node.port),
			METRICS_ADDR = ("%s:%d"):format(address_of(node.index), METRICS_PORT),
		}
		for name, value in pairs(node.settings) do settings[name] = value end
		node.settings = settings
	end
	net.chain_host = CHAIN
	M.join(net)
end

-- Cuts the way of a node's packets to another one, or ends that.
local function set_way(from, to, is_cut)
	for _, address in ipairs({ address_of(to), caller_of(to) }) do
		neighbour(from, address, is_cut and NOBODY or hardware_of(to))
	end
end

-- Cuts a node off from the others, or ends that.
local function set(net, index, is_cut)
	for _, node in ipairs(net.nodes) do
		if node.index ~= index then
			set_way(index, node.index, is_cut)
			set_way(node.index, index, is_cut)
		end
	end
end

--- Cuts the links between a node and all others; each of them still reaches the chain.
function M.cut(net, index)
	set(net, index, true)
end

--- Cuts the calls of a node to another one, whose own calls to it still come through and are answered.
function M.cut_calls(from, to)
	neighbour(from, address_of(to), NOBODY)
end

--- Cuts the link from a node to the chain.
function M.cut_chain(index)
	neighbour(index, CHAIN, NOBODY)
end

--- Makes all links whole again.
function M.join(net)
	for _, node in ipairs(net.nodes) do
		set(net, node.index, false)
		neighbour(node.index, CHAIN, CHAIN_HARDWARE)
	end
end

return M
