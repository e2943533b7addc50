--- What the second copy of a write costs its writer: puts one after the other, in turn to a node that answers at once
-- and to one that waits for a second copy, so that both meet the same moments of the machine.

local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local PUTS, WARM_UP, KEYS = 500, 50, 100
local VALUE = ("v"):rep(256)
local AT_ONCE, WAITING = 1, 2 -- numbers of the nodes, and their WRITE_COPIES

-- Restarts a node that answers writes at once.
local function restart_at_once(cluster)
	local node, own = cluster:node(AT_ONCE), {}
	for name, value in pairs(node.settings) do own[name] = value end
	own.WRITE_COPIES = tostring(AT_ONCE)
	node.settings = own
	cluster:kill(AT_ONCE)
	cluster:revive(AT_ONCE)
	cluster:wait_ready()
end

-- Returns milliseconds, and how many nodes hold the value, if the node says so.
local function put(client, key)
	local began = uv.hrtime()
	local response = client:put(key, VALUE, { more = { op = "put" } })
	local took_ms = (uv.hrtime() - began) / 1e6
	if response.status ~= 200 then error("a write was answered " .. response.status, 0) end
	return took_ms, response.inner.copies
end

-- Times of puts to each of the two nodes, sorted.
local function measure_puts(clients)
	local times = { [AT_ONCE] = {}, [WAITING] = {} }
	for i = 1 - WARM_UP, PUTS do
		for index, list in ipairs(times) do
			local took_ms, copies = put(clients[index], ("copies/%d"):format(i % KEYS))
			if index == WAITING and copies < WAITING then error("a write has a single copy", 0) end
			if i > 0 then list[i] = took_ms end
		end
	end
	for _, list in ipairs(times) do table.sort(list) end
	return times
end

--- Restarts the first node with WRITE_COPIES=1, and measures.
-- @param cluster of spec.support.cluster, with WRITE_COPIES=2; @param clients one a node
-- @return by WRITE_COPIES, 1 and 2: { p50_ms, p99_ms }
function M.measure(cluster, clients)
	restart_at_once(cluster)
	wait.until_true("writes with two copies", function()
		put(clients[AT_ONCE], "copies/first")
		return select(2, put(clients[WAITING], "copies/first")) >= WAITING
	end)
	local found = {}
	for copies, times in ipairs(measure_puts(clients)) do
		found[copies] = { p50_ms = times[math.ceil(#times * 0.5)], p99_ms = times[math.ceil(#times * 0.99)] }
	end
	return found
end

return M
