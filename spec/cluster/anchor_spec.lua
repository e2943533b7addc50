-- Anchors of sealed snapshots on a real chain: a cluster that lost every node does not start from yesterday's storage.

local clusters = require("spec.support.cluster")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local runbooks = require("spec.support.runbook")
local wait = require("spec.support.wait")

local RESTART_MS = 60000

describe("a cluster with anchored snapshots", function()
	local cluster, clients, dir

	setup(function()
		if clusters.missing() then return end
		dir = files.temp_dir()
		cluster = clusters.start({ env = {
			SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "1", MAX_CLOCK_SKEW_MS = "2000", SNAPSHOT_ANCHOR = "true",
			SNAPSHOT_ANCHOR_SECONDS = "1",
		} })
		clients = cluster:register("anchors")
	end)
	teardown(function()
		if cluster then cluster:stop() end
		if dir then
			for _, path in ipairs({ dir, dir .. ".old", dir .. ".new" }) do files.remove_dir(path) end
		end
	end)

	local test = clusters.test(it, pending, function() return cluster end)

	local function copy(from, to)
		assert.equal(0, (nodes.run({ "-a", from, to }, { program = "/bin/cp", env = {} })))
	end

	-- Writes through every node, and waits until each has saved all and anchored what it saved.
	local function write_and_wait(text)
		for i, client in ipairs(clients) do expect.ok(client:put("record " .. i, text)) end
		for i = 1, 3 do
			clusters.on_every_node("the record", clients, function(c) return c:value("record " .. i) == text end)
		end
		for i = 1, 3 do
			wait.until_true("node " .. i .. " to anchor", function()
				local now = cluster:status(i).snapshot
				local saved = now.saved_at_ms and now.saved_at_ms // 1000 * 1000
				local is_anchored = now.anchor.state == "ok" and now.anchor.anchored_at_ms == saved
				return now.unsaved_s == 0 and is_anchored, now.state .. ", " .. now.anchor.state
			end)
		end
	end

	test("starts from what was anchored last, and from nothing older", function()
		write_and_wait("old")
		copy(dir, dir .. ".old")
		write_and_wait("new")
		cluster:kill(1, 2, 3)
		copy(dir, dir .. ".new")
		files.remove_dir(dir)
		copy(dir .. ".old", dir)
		cluster:revive(1, 2, 3)
		local refused
		wait.until_true("a refusal", function()
			for i = 1, 3 do
				local ok, now = pcall(cluster.status, cluster, i)
				refused = ok and now.snapshot.older_than_anchored or refused
			end
			return refused
		end)
		assert.is_true(refused.newest_time_ms // 1000 < refused.anchored_time_ms // 1000)
		for i = 1, 3 do assert.is_false(cluster:status(i).node.service_available) end
		cluster:kill(1, 2, 3)
		files.remove_dir(dir)
		copy(dir .. ".new", dir)
		cluster:revive(1, 2, 3)
		cluster:wait_ready(RESTART_MS)
		for _, client in ipairs(clients) do
			for i = 1, 3 do assert.equal("new", client:value("record " .. i)) end
		end
	end)

	test("shows anybody what is anchored, as docs/snapshots.md says", function()
		local scratch = files.temp_dir()
		finally(function() files.remove_dir(scratch) end)
		local book = runbooks.read("docs/snapshots.md", scratch, "spec/cluster/anchor_spec.lua")
		local net = cluster.net
		-- A newer manifest may take the place of the anchored one between the commands.
		wait.until_true("the hash of a file to be that on chain", function()
			local out = book:paste("Anchors on chain", { number = 1, vars = {
				SNAPSHOT = dir, WALLET = net.nodes[1].wallet, RPC = net.chain.url, KMS_REGISTRY = net.registry.kms,
			} })
			local of_wallet = out:match("\n0x(%x+)\n%d[^\n]*\n0x%x+\n$")
			return of_wallet and out:find(of_wallet .. "  /", 1, true), out
		end)
		assert.same({}, book:unused())
	end)
end)
