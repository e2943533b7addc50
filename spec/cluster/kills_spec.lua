-- Nodes are killed at random moments, one at a time, under 200 writes a second. KILLS: how often (3); KILLS_SEED: which
-- moments (made up, and printed).

local chaos_parts = require("spec.support.chaos_parts")
local clusters = require("spec.support.cluster")
local kills = require("spec.support.kills")
local loop = require("kms.base.loop")
local repaired = require("spec.support.repaired")
local wait = require("spec.support.wait")

local COUNT = tonumber(os.getenv("KILLS") or 3)
local SEED = tonumber(os.getenv("KILLS_SEED")) or os.time() % 100000

describe("a cluster of which one node is killed", function()
	local cluster, run

	setup(function()
		if clusters.missing() then return end
		-- All that is written has room: what is evicted may be gone.
		cluster = clusters.start({ env = {
			WRITE_COPIES = "2", APP_RATE_LIMIT_PER_MINUTE = "0",
			MAX_APP_STORAGE_BYTES = tostring(256 << 20),
		} })
		run = kills.new(cluster, SEED)
	end)

	teardown(function()
		if run then print("\nkills under load:\n" .. run:table()) end
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	for number = 1, COUNT do
		test(("loses no write that was answered with two copies, and shows none older, kill %d of %d"):format(number, COUNT),
			function()
				local wrong = clusters.await(function() return run:round() end)
				assert.same({}, wrong, run:table())
			end)
	end

	-- The parts that chaos kills, by name.
	local function parts_of(watch)
		local by_name = {}
		for _, part in ipairs(chaos_parts.of(cluster.net, nil, nil, watch)) do by_name[part.name] = part end
		return by_name
	end

	test("has no other node killed by chaos while the first one has been told to stop, or is not made good", function()
		clusters.await(function()
			local watch = repaired.new(cluster.net.nodes)
			local parts = parts_of(watch)
			local first, second = parts["node 1"], parts["node 2"]
			wait.until_true("equal nodes", second.may_fail)
			loop.spawn(first.kill)
			assert.is_true(cluster:node(1).process:alive()) -- it was told, and has not ended
			assert.is_false(second.may_fail())
			wait.until_true("its end", function() return not cluster:node(1).process:alive() end)
			wait.until_true("equal nodes that are left", second.may_fail)
			first.start()
			assert.is_false(second.may_fail())
			wait.until_true("repair", second.may_fail)
			assert.is_true(cluster:status(1).node.store_complete)
			watch:stop()
		end)
	end)
end)
