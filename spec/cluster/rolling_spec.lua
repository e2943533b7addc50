-- Planned restarts, one node after the other, while clients write: what an operator does to upgrade.

local clusters = require("spec.support.cluster")
local loads = require("spec.support.kills_load")
local nodes = require("spec.support.node")
local random = require("spec.support.random")
local wait = require("spec.support.wait")

local STOP_MS, READY_MS = 30000, 60000
local WRITES = 50 -- acknowledged before each stop
-- No write waits for another node: what the node that answered pushes until it ends must do.
local ENV = { APP_RATE_LIMIT_PER_MINUTE = "0", WRITE_COPIES = "1" }

describe("a cluster whose nodes are restarted one after the other", function()
	local cluster

	setup(function()
		if not clusters.missing() then cluster = clusters.start({ env = ENV }) end
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	local function check_cluster()
		local words = { "cluster", "check" }
		for i = 1, 3 do
			words[#words + 1] = "--url"
			words[#words + 1] = "http://127.0.0.1:" .. cluster:node(i).port
		end
		local code, output, errors = nodes.run(words)
		return code == 0, output .. errors
	end

	-- Restarts all nodes by SIGTERM. Each serves before the next one is stopped.
	local function restart_all(load)
		load:start()
		for index, node in ipairs(cluster.net.nodes) do
			wait.until_true("writes", function() return load.counts.acknowledged >= index * WRITES end, 60)
			node.process:stop(STOP_MS)
			assert(node:start())
			cluster.net:wait_ready(READY_MS)
		end
		load:stop()
		wait.until_true("the end of the last calls", function() return load:is_idle() end)
	end

	-- 87 of 1771 acknowledged writes were gone from all nodes, and one key stayed divergent.
	test("loses no acknowledged write, whatever its copies, and all nodes hold the same in the end", function()
		local load = loads.new(cluster.net.nodes, cluster.net.apps[1], cluster.net.dir, random.new(os.time()), 1)
		clusters.await(function() restart_all(load) end)
		wait.until_true("the same on all nodes", check_cluster)
		assert.same({}, clusters.await(function() return load:wrong({ cluster.net.nodes[1] }, load:held()) end))
		assert.is_true(load.counts.acknowledged >= 3 * WRITES, load.counts.acknowledged)
	end)
end)
