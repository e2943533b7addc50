-- Restarts of real nodes, whose stores are then empty: what they fetch before they serve, and for whom they wait.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local uv = require("luv")
local wait = require("spec.support.wait")

local VALUE_BYTES, VALUES = 60000, 40
local LONELY_S = 2
local WATCHED_S = 6 -- for how long a node is seen not to serve; more than LONELY_S

describe("a node that restarts", function()
	local cluster, clients
	local paused = {}

	setup(function()
		if clusters.missing() then return end
		-- A snapshot of the whole store would be more than MAX_SNAPSHOT_BYTES.
		cluster = clusters.start({ env = {
			MAX_KV_VALUE_SIZE_BYTES = "65536", MAX_SNAPSHOT_BYTES = "1200000", LONELY_SECONDS = tostring(LONELY_S),
			MAX_CLOCK_SKEW_MS = "4000", -- they wait twice as long before they write from nothing
			RATE_LIMIT_PER_MINUTE = "0", NONCE_RATE_LIMIT_PER_MINUTE = "0",
			DATA_SYNC_INTERVAL_SECONDS = "20", -- repair by the others must not bring what this node did not wait for
		} })
		clients = cluster:register("join")
	end)

	local function pause(index)
		paused[index] = cluster:node(index).process.pid
		assert.equal(0, uv.kill(paused[index], "sigstop"))
	end

	local function continue(index)
		uv.kill(paused[index], "sigcont")
		paused[index] = nil
	end

	teardown(function()
		for index in pairs(paused) do continue(index) end
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	local function is_ready(index)
		local reply = http.get(cluster:node(index).port, "/ready")
		return reply ~= nil and reply.status == 200
	end

	local function wait_serving(...)
		for _, index in ipairs({ ... }) do
			wait.until_true("node " .. index .. " to serve", function() return is_ready(index) end, 60)
		end
	end

	local function value_of(key) return (key .. ";"):rep(VALUE_BYTES):sub(1, VALUE_BYTES) end

	-- At the first moment at which a node serves, it has all.
	local function holds_all(index, prefix, count)
		for i = 1, count do
			assert.is_true(clients[index]:value(prefix .. i) == value_of(prefix .. i), prefix .. i)
		end
	end

	test("fetches a store that is larger than any message, and serves only with all of it", function()
		for i = 1, VALUES do expect.ok(clients[1]:put("large" .. i, value_of("large" .. i))) end
		clusters.on_every_node("the last value", clients, function(c) return c:value("large" .. VALUES) ~= nil end, 60)
		-- The writer: nobody pushes to it what it wrote itself.
		cluster:kill(1)
		cluster:revive(1)
		wait_serving(1)
		holds_all(1, "large", VALUES)
		assert.is_true(cluster:status(1).node.store_complete)
	end)

	test("does not serve while the member that has all is paused, though another one restarts with it", function()
		pause(3)
		cluster:kill(1, 2)
		cluster:revive(1, 2)
		for i = 1, 2 do wait.until_true("node " .. i, function() return http.get(cluster:node(i).port, "/status") end) end
		local ends = uv.hrtime() + WATCHED_S * 1e9
		while uv.hrtime() < ends do
			assert.is_false(is_ready(1) or is_ready(2), "a node serves from nothing")
			uv.sleep(200)
		end
		continue(3)
		wait_serving(1, 2)
		for index = 1, 2 do holds_all(index, "large", VALUES) end
	end)

	test("is not kept long by a member that hangs while another one has all", function()
		wait_serving(3)
		pause(3)
		local began = uv.hrtime()
		cluster:kill(1)
		cluster:revive(1)
		wait_serving(1)
		assert.is_true((uv.hrtime() - began) / 1e9 < 45)
		holds_all(1, "large", VALUES)
		continue(3)
	end)

	test("serves with the others, from nothing, when all have restarted", function()
		cluster:kill(1, 2, 3)
		cluster:revive(1, 2, 3)
		wait_serving(1, 2, 3)
		for index = 1, 3 do
			wait.until_true("a complete store", function() return cluster:status(index).node.store_complete end)
		end
		clusters.write(clients[2], "new", "value")
		clusters.on_every_node("a new value", clients, function(c) return c:value("new") == "value" end)
	end)

	test("serves alone when the others are gone, says so, and merges with them when they are back", function()
		cluster:kill(1, 2, 3)
		cluster:revive(1)
		wait_serving(1)
		local node = cluster:status(1).node
		assert.same({ true, false }, { node.store_alone, node.store_complete })
		for _, member in ipairs(node.store_waits_for) do assert.equal("refuses connections", member.state) end
		assert.same({ 2, 0 }, { #node.store_waits_for, node.store_alone_in_s })
		clusters.write(clients[1], "lonely", "value")
		cluster:revive(2, 3)
		wait_serving(1, 2, 3)
		clusters.on_every_node("what was written alone", clients, function(c) return c:value("lonely") == "value" end)
		for index = 1, 3 do
			wait.until_true("a complete store", function() return cluster:status(index).node.store_complete end)
			assert.is_false(cluster:status(index).node.store_alone)
		end
	end)
end)
