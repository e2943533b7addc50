-- Parts of a cluster die at random moments. CHAOS_SECONDS: for how long (20); CHAOS_SEED: which
-- moments (made up, and printed).

local chaos = require("spec.support.chaos")
local clusters = require("spec.support.cluster")

local function describe_run(result, seconds, seed)
	local kills = {}
	for name, count in pairs(result.kills) do kills[#kills + 1] = ("%s %d"):format(name, count) end
	table.sort(kills)
	print(("chaos: CHAOS_SEED=%d, %d s, %d rounds; killed: %s; slowest recovery %d ms"):format(
		seed, seconds, result.rounds, table.concat(kills, ", "), result.slowest_ms))
	print(("%d writes, %d of them acknowledged, %d of those with two copies or more, %d lost as the rules allow; "
		.. "%d requests refused"):format(result.writes, result.acknowledged, result.copied, result.lost, result.refused))
end

describe("a cluster whose parts are killed at random", function()
	local test = clusters.test(it, pending)
	test("loses no acknowledged write, trusts nothing for too long, and is ready again at once", function()
		local seconds = tonumber(os.getenv("CHAOS_SECONDS") or 20)
		local seed = tonumber(os.getenv("CHAOS_SEED")) or os.time() % 100000
		-- That no node trusts an older view is a part of it (MEMBER_MS of spec/support/chaos_load.lua).
		local cluster = clusters.start({ odyn = true, env = { PEER_CACHE_TTL_SECONDS = "3" } })
		finally(function() cluster:stop() end)
		local result = clusters.await(function() return chaos.run(cluster, seconds, seed) end)
		describe_run(result, seconds, seed)
		assert.equal(0, #result.violations, table.concat(result.events, "\n"))
		assert.is_true(result.copied > 0, "no write has two copies")
	end)
end)
