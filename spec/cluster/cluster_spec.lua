-- Three nodes on a real chain: one secret, one set of records, and who the chain lets in.

local clusters = require("spec.support.cluster")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local uv = require("luv")
local wait = require("spec.support.wait")

-- REGISTRY_CACHE_TTL_SECONDS, a block, and much for a busy machine; without the setting it would be minutes.
local CACHE_S = 1 + 1 + 38

describe("a cluster of three nodes", function()
	local cluster

	setup(function()
		if not clusters.missing() then cluster = clusters.start({}) end
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	test("becomes ready on one secret, whose hash is on chain", function()
		local hash = clusters.await(function() return cluster.net.registry:master_secret_hash() end)
		assert.truthy(hash)
		local states = {}
		for i = 1, 3 do
			local status = cluster:status(i)
			assert.is_true(status.node.service_available)
			assert.equal(3, status.cluster.total_instances)
			local state = status.node.master_secret.state
			states[state] = (states[state] or 0) + 1
		end
		assert.same({ generated = 1, synced = 2 }, states)
	end)

	test("derives the same key on every node, and another one for another application", function()
		local one, other = cluster:register("keys one"), cluster:register("keys other")
		local keys = {}
		for i, client in ipairs(one) do keys[i] = expect.ok(client:derive({ path = "p", context = "c" })).inner.key end
		assert.equal(keys[1], keys[2])
		assert.equal(keys[1], keys[3])
		assert.are_not.equal(keys[1], expect.ok(other[1]:derive({ path = "p", context = "c" })).inner.key)
	end)

	test("reads on every node what was written on one, and deletes everywhere", function()
		local clients = cluster:register("values")
		for i, client in ipairs(clients) do
			local key, value = "key/" .. i, "value of " .. i
			expect.ok(client:put(key, value))
			clusters.on_every_node(key, clients, function(c) return c:value(key) == value end)
		end
		local large = crypto.random(1 << 20)
		expect.ok(clients[2]:put("large", large))
		clusters.on_every_node("a value of 1 MiB", clients, function(c) return c:value("large") == large end)
		expect.ok(clients[3]:put("key/1", "overwritten"))
		clusters.on_every_node("the later value", clients, function(c) return c:value("key/1") == "overwritten" end)
		expect.ok(clients[1]:delete("key/1"))
		clusters.on_every_node("the deletion", clients, function(c) return c:value("key/1") == nil end)
	end)

	test("refuses who is not registered", function()
		for _, client in ipairs(cluster:clients(crypto.made_up("cluster stranger"), 1)) do
			expect.refused(client:derive({ path = "p" }), 403, "unauthorized")
		end
	end)

	for name, change in pairs({
		["its instance is stopped"] = function(registry, app) registry:stop_instance(app.instance_id) end,
		["it is no longer verified"] = function(registry, app) registry:set_verified(app.instance_id, false) end,
		["its version is revoked"] = function(registry, app) registry:revoke_version(app.app_id) end,
	}) do
		test("refuses an application within the cache time once " .. name, function()
			local clients = cluster:register(name)
			for _, client in ipairs(clients) do expect.ok(client:derive({ path = "p" })) end
			cluster:owner(function(registry) change(registry, clients) end)
			local begun = uv.hrtime()
			clusters.on_every_node("refusal", clients, function(c)
				return expect.refused(c:derive({ path = "p" }), 403, "unauthorized")
			end)
			assert.is_true((uv.hrtime() - begun) / 1e9 < CACHE_S, "later than the cache time")
		end)
	end

	test("stops serving on a node that is no member any more, and starts again when it is", function()
		local clients, node = cluster:register("member"), cluster:node(3)
		cluster:owner(function(registry) registry:set_verified(node.instance_id, false) end)
		wait.until_true("503", function() return clients[3]:derive({ path = "p" }).status == 503 end, CACHE_S)
		expect.ok(clients[1]:put("meanwhile", "written"))
		wait.until_true("two members", function() return cluster:status(1).cluster.total_instances == 2 end, CACHE_S)
		cluster:owner(function(registry) registry:set_verified(node.instance_id, true) end)
		cluster:wait_ready()
		clusters.on_every_node("what it has missed", clients, function(c) return c:value("meanwhile") == "written" end)
	end)
end)
