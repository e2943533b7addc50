-- A node of an earlier version beside two of this one: what each writes, deletes and lets expire is so on all of
-- them, through restarts of each. `make test-upgrade` builds the earlier version and runs this; otherwise there is
-- nothing here.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local tree = os.getenv("KMS_UPGRADE_FROM")
if not tree then return end
local EARLIER = { program = tree .. "/build/nova-kms", policies = tree .. "/config/policy" }

local TTLS_MS = { 4000, 16000, 60000 } -- tried until one is long enough for a machine that does other things
local EXPIRED_S = 60

describe("an earlier node beside two of this version", function()
	local cluster, clients

	setup(function()
		-- With keys in TEE services no node keeps the master secret over a restart.
		cluster = clusters.start({ odyn = true, earlier = { EARLIER } })
		clients = cluster:register("upgrade")
	end)
	teardown(function()
		if cluster then cluster:stop() end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	local function on_all(key, value)
		clusters.on_every_node(key, clients, function(c) return c:value(key) == value end)
	end

	local function wait_serving(index)
		wait.until_true(("node %d to serve"):format(index), function()
			local reply = http.get(cluster:node(index).port, "/ready")
			return reply and reply.status == 200
		end)
	end

	test("is what the others take it for: they compare stores with each other only", function()
		wait.until_true("a comparison of the new ones", function()
			local other = cluster:status(2).sync.peers[cluster:node(3).wallet]
			return other.repair and other.repair.ever_equal
		end)
		local earlier = cluster:status(2).sync.peers[cluster:node(1).wallet].repair
		assert.is_false(earlier ~= nil and earlier.ever_equal == true)
	end)

	test("takes writes of each other, written again and deleted on another one", function()
		for i, client in ipairs(clients) do
			local key, other, third = "key " .. i, clients[i % 3 + 1], clients[(i + 1) % 3 + 1]
			expect.ok(client:put(key, "first"))
			on_all(key, "first")
			expect.ok(other:put(key, "second"))
			on_all(key, "second")
			expect.ok(third:delete(key))
			on_all(key, nil)
			expect.ok(client:put(key, "third"))
			on_all(key, "third")
		end
	end)

	test("agrees on keys that are written everywhere at once", function()
		for i = 1, 20 do
			for at, client in ipairs(clients) do expect.ok(client:put("both " .. i, "of " .. at)) end
		end
		for i = 1, 20 do
			local key = "both " .. i
			wait.until_true("one value of " .. key, function()
				local value = clients[1]:value(key)
				return value and value == clients[2]:value(key) and value == clients[3]:value(key)
			end)
		end
	end)

	-- Puts a value that expires, and waits until every node has it. Returns its key.
	local function put_for_a_while(client, name)
		for _, ttl_ms in ipairs(TTLS_MS) do
			local key = name .. ttl_ms
			expect.ok(client:put(key, "short", { more = { ttl_ms = ttl_ms } }))
			local seen = wait.holds(function()
				for _, other in ipairs(clients) do
					if other:value(key) ~= "short" then return false end
				end
				return true
			end, ttl_ms / 1000)
			if seen then return key end
		end
		error("no node but one ever had a value with a TTL", 2)
	end

	test("lets expire what has a TTL, written on either version", function()
		for i = 1, 2 do
			local key = put_for_a_while(clients[i], "ttl " .. i .. " ")
			clusters.on_every_node("the end of " .. key, clients, function(c) return c:value(key) == nil end, EXPIRED_S)
			for _, client in ipairs(clients) do
				for _, listed in ipairs(expect.ok(client:list()).inner.keys) do assert.are_not.equal(key, listed) end
			end
		end
	end)

	test("has all of it after a restart, as each of the others, and what was written meanwhile", function()
		for i = 1, 3 do
			local other = clients[i % 3 + 1]
			cluster:kill(i)
			clusters.write(other, "away " .. i, "written")
			expect.ok(other:put("gone " .. i, "deleted soon"))
			expect.ok(other:delete("gone " .. i))
			cluster:revive(i)
			cluster:wait_ready()
			clusters.write(clients[i], "back " .. i, "written")
			for at = 1, i do
				on_all("away " .. at, "written")
				on_all("back " .. at, "written")
				on_all("gone " .. at, nil)
			end
			for at = 1, 3 do on_all("key " .. at, "third") end
		end
	end)

	test("gives the master secret to a new one, and gets it from one, each the only other node", function()
		on_all("back 3", "written")
		cluster:kill(2, 3)
		cluster:revive(2)
		wait_serving(2)
		assert.equal(cluster:node(1).url, cluster:status(2).node.master_secret.synced_from)
		assert.equal("third", clients[2]:value("key 1"))
		cluster:kill(1)
		cluster:revive(1)
		wait_serving(1)
		assert.equal(cluster:node(2).url, cluster:status(1).node.master_secret.synced_from)
		cluster:revive(3)
		cluster:wait_ready()
		for at = 1, 3 do on_all("key " .. at, "third") end
	end)

	test("leaves the new ones with the same records, tombstones and expired ones included", function()
		local code, output, errors = nodes.run({
			"cluster", "check", "--wait", "60", "--url", cluster:node(2).url, "--url", cluster:node(3).url,
		})
		assert.equal("all 2 nodes hold the same\n", output, errors)
		assert.equal(0, code)
	end)
end)
