-- What sealed snapshots bring back after the loss of every node's memory.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local list = require("kms.base.files").list
local saved = require("spec.support.saved")
local uv = require("luv")

local RESTART_MS = 60000
local MAX_CLOCK_SKEW_MS = "2000" -- a cluster whose nodes all restarted makes no writes for twice as long
local RECORDS = 30

describe("a cluster with sealed snapshots", function()
	local cluster, clients, dir

	setup(function()
		if clusters.missing() then return end
		dir = files.temp_dir()
		cluster = clusters.start({ env = {
			SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "1", MAX_CLOCK_SKEW_MS = MAX_CLOCK_SKEW_MS,
		} })
		clients = cluster:register("snapshots")
	end)
	teardown(function()
		if cluster then cluster:stop() end
		if dir then files.remove_dir(dir) end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	local function key_of(client)
		local response = client:derive({ path = "kept" })
		return response.status == 200 and response.inner.key or nil
	end

	-- Kills every node, and starts them all.
	local function lose_all()
		cluster:kill(1, 2, 3)
		cluster:revive(1, 2, 3)
		cluster:wait_ready(RESTART_MS)
	end

	local function restored_files()
		local nodes = {}
		for i = 1, 3 do
			local restored = cluster:status(i).snapshot.restored
			if restored then nodes[#nodes + 1] = restored end
		end
		return nodes
	end

	test("has every record after all nodes were killed, and every key", function()
		local key = assert(key_of(clients[1]))
		for i = 1, RECORDS do expect.ok(clients[i % 3 + 1]:put("record " .. i, "value " .. i)) end
		expect.ok(clients[1]:put("deleted", "x"))
		clusters.on_every_node("the record", clients, function(c) return c:value("deleted") == "x" end)
		expect.ok(clients[2]:delete("deleted"))
		clusters.on_every_node("the deletion", clients, function(c) return c:get("deleted").status == 404 end)
		saved.wait_all(cluster, 3)
		lose_all()
		for _, client in ipairs(clients) do
			for i = 1, RECORDS do assert.equal("value " .. i, client:value("record " .. i)) end
			assert.equal(key, key_of(client))
			expect.refused(client:get("deleted"), 404, "not_found")
		end
		-- One restored all nodes' snapshots; the others got its store.
		local restored = restored_files()
		assert.equal(1, #restored)
		assert.same({ 3, 0, 0 }, { restored[1].wallets, restored[1].bad_files, restored[1].rejected })
	end)

	test("has every record although one node's newest file is damaged and another one's are gone", function()
		clusters.write(clients[1], "second", "life")
		clusters.on_every_node("the record", clients, function(c) return c:value("second") == "life" end)
		saved.wait_all(cluster, 3)
		cluster:kill(1, 2, 3)
		local secret = dir .. "/" .. list(dir)[1]
		local wallets = list(secret)
		assert.equal(3, #wallets)
		local snaps = {}
		for _, name in ipairs(list(secret .. "/" .. wallets[1])) do snaps[#snaps + 1] = name:match("^.*%.snap$") end
		local newest = ("%s/%s/%s"):format(secret, wallets[1], snaps[#snaps])
		files.write(newest, files.read(newest):sub(1, -2))
		for _, name in ipairs(list(secret .. "/" .. wallets[2])) do
			if name:find("%.snap$") then assert(uv.fs_unlink(("%s/%s/%s"):format(secret, wallets[2], name))) end
		end
		cluster:revive(1, 2, 3)
		cluster:wait_ready(RESTART_MS)
		for _, client in ipairs(clients) do
			for i = 1, RECORDS do assert.equal("value " .. i, client:value("record " .. i)) end
			assert.equal("life", client:value("second"))
		end
		assert.is_true(restored_files()[1].bad_files >= 2)
	end)
end)
