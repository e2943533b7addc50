-- What a cluster survives: the owner's reset of the hash, and a restart of every node at once.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local wait = require("spec.support.wait")

-- Ticks that a whole cluster takes to come back, and a machine that is busy.
local RESTART_MS = 60000

-- A cluster whose nodes all restarted makes no writes for twice as long.
local MAX_CLOCK_SKEW_MS = "4000"

local function hash_of(cluster)
	return clusters.await(function() return cluster.net.registry:master_secret_hash() end)
end

local function key_of(client)
	local response = client:derive({ path = "kept" })
	return response.status == 200 and response.inner.key or nil
end

describe("a cluster whose nodes keep their secret", function()
	local cluster, clients, key, hash

	setup(function()
		if clusters.missing() then return end
		cluster = clusters.start({ env = { MAX_CLOCK_SKEW_MS = MAX_CLOCK_SKEW_MS } })
		clients = cluster:register("recovery")
		key, hash = assert(key_of(clients[1])), hash_of(cluster)
		expect.ok(clients[1]:put("record", "kept"))
		clusters.on_every_node("the record", clients, function(c) return c:value("record") == "kept" end)
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	test("sets the same hash again after the owner's reset, with every key and record", function()
		cluster:owner(function(registry) registry:reset_hash() end)
		wait.until_true("the same hash", function() return hash_of(cluster) == hash end)
		cluster:wait_ready()
		clusters.on_every_node("the same key", clients, function(c) return key_of(c) == key end)
		clusters.on_every_node("the record", clients, function(c) return c:value("record") == "kept" end)
	end)

	test("is ready again after a restart of all nodes at once, with the same keys", function()
		cluster:kill(1, 2, 3)
		cluster:revive(1, 2, 3)
		cluster:wait_ready(RESTART_MS)
		assert.equal(hash, hash_of(cluster))
		for _, client in ipairs(clients) do assert.equal(key, key_of(client)) end
	end)

	test("takes a node back that was away, with what was written meanwhile", function()
		cluster:kill(2)
		clusters.write(clients[1], "away", "written")
		cluster:revive(2)
		cluster:wait_ready()
		assert.equal("written", clients[2]:value("away"))
	end)
end)
