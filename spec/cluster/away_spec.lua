-- A node that was away for longer than tombstones stay: what the others deleted meanwhile does not come back with it.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local uv = require("luv")
local wait = require("spec.support.wait")

local RECORDS = 50
local RETENTION_MS, VIEW_S, SKEW_S = 2000, 10, 1

describe("a node that was away for longer than tombstones stay", function()
	local cluster, clients, paused

	setup(function()
		if clusters.missing() then return end
		cluster = clusters.start({ env = {
			TOMBSTONE_RETENTION_MS = tostring(RETENTION_MS), MAX_CLOCK_SKEW_MS = tostring(SKEW_S * 1000),
			PEER_CACHE_TTL_SECONDS = tostring(VIEW_S), RATE_LIMIT_PER_MINUTE = "0", NONCE_RATE_LIMIT_PER_MINUTE = "0",
		} })
		clients = cluster:register("away")
	end)

	teardown(function()
		if paused then uv.kill(paused, "sigcont") end
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	-- Waits until every node has found no difference with both others, later than now.
	local function wait_equal()
		local began = uv.hrtime()
		local function is_equal(index)
			local passed_s, count = (uv.hrtime() - began) / 1e9, 0
			for _, peer in pairs(cluster:status(index).sync.peers) do
				local repair = peer.repair
				if repair and repair.ever_equal and passed_s - repair.lag_s > 1 then count = count + 1 end
			end
			return count == 2
		end
		for index = 1, 3 do wait.until_true("no difference", function() return is_equal(index) end) end
	end

	local function count_here(client)
		local count = 0
		for i = 1, RECORDS do
			if client:value("deleted" .. i) then count = count + 1 end
		end
		return count
	end

	test("brings back none of 50 deleted records, not even on one that has restarted, and keeps the others", function()
		for i = 1, RECORDS do clusters.write(clients[1], "deleted" .. i, "value") end
		clusters.write(clients[1], "kept", "value")
		-- The node drops only what is older, by what clocks may differ, than the last exchange; the second one that ends
		-- from now on has begun from now on.
		wait.sleep(SKEW_S * 1000)
		for _ = 1, 2 do wait_equal() end
		assert.equal(RECORDS, count_here(clients[3]))
		paused = cluster:node(3).process.pid
		assert.equal(0, uv.kill(paused, "sigstop"))
		for i = 1, RECORDS do expect.ok(clients[1]:delete("deleted" .. i)) end
		wait.sleep(VIEW_S * 1000) -- the tombstones end, too
		clusters.write(clients[1], "meanwhile", "value")
		cluster:kill(2)
		cluster:revive(2)
		uv.kill(paused, "sigcont")
		paused = nil
		wait_equal()
		for _, client in ipairs(clients) do
			assert.equal(0, count_here(client))
			assert.equal("value", client:value("kept"))
			assert.equal("value", client:value("meanwhile"))
		end
	end)
end)
