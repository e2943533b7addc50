--- What the second copy of a write costs: puts to a cluster of three nodes on loopback, one after the other, in turn to
-- a node with WRITE_COPIES=1 and to one with WRITE_COPIES=2. lua5.4 spec/bench/bench_copies.lua BUILD

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local uv = require("luv")
local build = (arg[1] or "build"):gsub("^" .. uv.cwd():gsub("%p", "%%%0") .. "/", "")
package.cpath = build .. "/?.so;" .. build .. "/spec/?.so;" .. package.cpath
uv.os_setenv("KMS_BUILD", build) -- for the support modules
local clusters = require("spec.support.cluster")
local wait = require("spec.support.wait")

local PUTS, WARM_UP = 500, 50
local VALUE = ("v"):rep(256)
local MOST_MS = 3
local ONE, TWO = 1, 2 -- numbers of the nodes, and their WRITE_COPIES

-- Restarts a node with a setting of its own.
local function restart_with(cluster, index, name, value)
	local node, own = cluster:node(index), { [name] = value }
	for other, setting in pairs(node.settings) do own[other] = own[other] or setting end
	node.settings = own
	cluster:kill(index)
	cluster:revive(index)
	cluster:wait_ready()
end

-- Returns milliseconds, and how many nodes hold the value.
local function put(client, key)
	local begun = uv.hrtime()
	local response = client:put(key, VALUE, { more = { op = "put" } })
	local took_ms = (uv.hrtime() - begun) / 1e6
	assert(response.status == 200, response.body)
	return took_ms, response.inner.copies
end

local function measure(clients)
	local times = { [ONE] = {}, [TWO] = {} }
	for i = 1 - WARM_UP, PUTS do
		for index, list in ipairs(times) do
			local took_ms, copies = put(clients[index], ("key %d"):format(i % 100))
			if i > 0 then
				assert(index == ONE or copies >= 2, "a put has a single copy")
				list[i] = took_ms
			end
		end
	end
	for _, list in ipairs(times) do table.sort(list) end
	return times
end

local function percentile(times, share)
	return times[math.max(1, math.ceil(#times * share))]
end

local function run(cluster)
	restart_with(cluster, ONE, "WRITE_COPIES", "1")
	local clients = cluster:register("bench")
	for i = 1, #clients do
		wait.until_true("two copies", function() return select(2, put(clients[TWO], "first " .. i)) >= 2 end)
	end
	local times = measure(clients)
	print(("\n%-36s %10s %10s"):format("Puts to one of three nodes", "p50 ms", "p99 ms"))
	for index, list in ipairs(times) do
		print(("  %-34s %10.2f %10.2f"):format("WRITE_COPIES=" .. index, percentile(list, 0.5), percentile(list, 0.99)))
	end
	local more_ms = percentile(times[TWO], 0.5) - percentile(times[ONE], 0.5)
	print(("  %-34s %10.2f   at most %g: %s"):format(
		"the second copy", more_ms, MOST_MS, more_ms <= MOST_MS and "ok" or "over"))
end

local missing = clusters.missing()
if missing then
	print("\nPuts to one of three nodes: not measured: " .. missing)
	return
end
local cluster = clusters.start({ env = { WRITE_COPIES = "2", APP_RATE_LIMIT_PER_MINUTE = "0" } })
local ok, message = pcall(run, cluster)
cluster:stop()
if not ok then error(message, 0) end
