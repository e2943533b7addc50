-- Repair between real nodes. A policy keeps them from pushing anything, so that all that a node learns of another
-- one's writes comes by comparing stores: as after lost messages, restarts of senders, or a partition.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local now_ms = require("spec.support.session_client").now_ms
local uv = require("luv")
local wait = require("spec.support.wait")

local WRITES = 100
local ROOM = 300000 -- bytes of an application's values
local SYNC = [[return {
	api = 1, interval = 1, max_records = 5000, max_bytes = 4 << 20, parallel = 64,
	backoff = function() return 1 end, peers = function() return {} end,
}]]

describe("members that push nothing to each other", function()
	local cluster, clients, folder

	setup(function()
		if clusters.missing() then return end
		folder = policies.new()
		folder:write("sync", SYNC)
		cluster = clusters.start({ env = {
			POLICY_DIR = folder.dir, WRITE_COPIES = "1", MAX_APP_STORAGE_BYTES = tostring(ROOM),
		} })
		clients = cluster:register("repair")
	end)
	teardown(function()
		if cluster then cluster:stop() end
		if folder then folder:remove() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	-- Waits until every node has found no difference with both others, later than now.
	local function wait_equal()
		local began = uv.hrtime()
		wait.until_true("no difference between any two members", function()
			local passed_s = (uv.hrtime() - began) / 1e9
			for i = 1, 3 do
				local count = 0
				for _, peer in pairs(cluster:status(i).sync.peers) do
					local repair = peer.repair
					if not repair or not repair.ever_equal or repair.lag_s >= passed_s then return false end
					count = count + 1
				end
				if count < 2 then return false end
			end
			return true
		end, 60)
	end

	local function write(client, prefix)
		for i = 1, WRITES do expect.ok(client:put(prefix .. i, prefix .. " of " .. i)) end
	end

	local function holds(client, prefix)
		for i = 1, WRITES do
			if client:value(prefix .. i) ~= prefix .. " of " .. i then return false end
		end
		return true
	end

	test("get 100 of 100 writes of another one, written on both sides, and hold the same", function()
		write(clients[1], "one")
		write(clients[2], "two")
		for _, prefix in ipairs({ "one", "two" }) do
			clusters.on_every_node(prefix, clients, function(c) return holds(c, prefix) end, 60)
		end
		wait_equal()
	end)

	test("are found equal from outside by `nova-kms cluster check`", function()
		local words = { "cluster", "check" }
		for i = 1, 3 do
			words[#words + 1] = "--url"
			words[#words + 1] = "http://127.0.0.1:" .. cluster:node(i).port
		end
		local code, out, err = nodes.run(words)
		assert.equal("all 3 nodes hold the same\n", out, err)
		assert.equal(0, code)
	end)

	test("agree on keys that were written on both sides, and on deletions", function()
		local first = expect.ok(clients[1]:put("both", "first")).inner.updated_at_ms
		wait.until_true("a later millisecond", function() return now_ms() > first end)
		expect.ok(clients[2]:put("both", "second"))
		expect.ok(clients[3]:delete("one1"))
		wait_equal()
		for _, client in ipairs(clients) do
			assert.equal("second", client:value("both"))
			assert.is_nil(client:value("one1"))
			assert.equal("one of 2", client:value("one2"))
		end
	end)

	-- "Evicted before it was pushed": three members answered 404, the new value and the old one, for good.
	test("serve no older value for one that was evicted where it was written", function()
		local apart = cluster:register("evicted")
		expect.ok(apart[1]:put("k", "old"))
		clusters.on_every_node("the old value", apart, function(c) return c:value("k") == "old" end, 60)
		expect.ok(apart[1]:put("k", "new"))
		for i = 1, 4 do expect.ok(apart[1]:put("large" .. i, ("x"):rep(ROOM // 4))) end
		wait_equal()
		assert.is_nil(apart[1]:value("k"))
		for _, client in ipairs(apart) do assert.are_not.equal("old", client:value("k")) end
	end)

	test("hold the same again after a member has restarted with an empty store", function()
		cluster:kill(2)
		expect.ok(clients[1]:put("away", "written"))
		cluster:revive(2)
		cluster:wait_ready()
		expect.ok(clients[3]:put("back", "written"))
		wait_equal()
		for _, key in ipairs({ "away", "back" }) do
			for _, client in ipairs(clients) do assert.equal("written", client:value(key)) end
		end
	end)
end)
