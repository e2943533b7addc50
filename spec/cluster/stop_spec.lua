-- What a cluster keeps when a node stops as planned, and how soon a change is on the other nodes. Ticks of the
-- pusher are too far apart to help.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local uv = require("luv")

local PUSH_LAG_S = 20 -- 50 ms, and a machine that is busy; ticks would be an hour

describe("a cluster whose pushers tick once an hour", function()
	local cluster

	setup(function()
		if not clusters.missing() then cluster = clusters.start({ env = { DATA_SYNC_INTERVAL_SECONDS = "3600" } }) end
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	test("pushes a change at once", function()
		local clients = cluster:register("lag")
		for i, client in ipairs(clients) do
			local key = "key " .. i
			expect.ok(client:put(key, "value"))
			local begun = uv.hrtime()
			clusters.on_every_node(key, clients, function(c) return c:value(key) == "value" end)
			assert.is_true((uv.hrtime() - begun) / 1e9 < PUSH_LAG_S, "later than " .. PUSH_LAG_S .. " s")
		end
	end)

	test("loses no acknowledged write when a node is stopped right after it, 4 of 4", function()
		local clients = cluster:register("stop")
		for round = 1, 4 do
			local key = "round " .. round
			expect.ok(clients[1]:put(key, "kept"))
			cluster:stop_node(1)
			for i = 2, 3 do assert.equal("kept", clients[i]:value(key)) end
			cluster:revive(1)
			cluster:wait_ready()
			assert.equal("kept", clients[1]:value(key))
		end
	end)
end)
