-- Sealed snapshots of a running node: what a node with the same secret and nothing else brings back from them.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local custodians = require("spec.support.custodians")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local prometheus = require("spec.support.prometheus")
local saved = require("spec.support.saved")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER = crypto.keccak256("the master secret of sealed snapshots")

describe("a node with SNAPSHOT", function()
	local dir, env, node

	before_each(function()
		dir = files.temp_dir()
		env = { SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "1", MASTER_SECRET_HEX = crypto.hex(MASTER) }
	end)
	after_each(function()
		if node then node:stop() end
		node = nil
		files.remove_dir(dir)
	end)

	-- Starts a node with a new folder, and so with another wallet. Returns an application of it.
	local function start(more)
		for name, value in pairs(more or {}) do env[name] = value end
		node = nodes.start({ env = env })
		local app = apps.new(node, "200", "snapshots")
		node:register({ app })
		return app
	end

	local function snapshot() return node:status().snapshot end

	-- The only wallet's folder.
	local function folder()
		local files_of = require("kms.base.files")
		local hash = files_of.list(dir)[1]
		return ("%s/%s/%s"):format(dir, hash, files_of.list(dir .. "/" .. hash)[1])
	end

	local function run(...)
		return nodes.run({ "snapshot", ... }, { env = {} })
	end

	it("loses nothing that was saved, whatever becomes of it", function()
		local app = start()
		local key = expect.ok(app:derive({ path = "kept" })).key
		for i = 1, 20 do expect.ok(app:put("key " .. i, ("value "):rep(200) .. i)) end
		expect.ok(app:put("replaced", "old"))
		expect.ok(app:put("deleted", "x"))
		saved.wait(node)
		expect.ok(app:put("replaced", "new"))
		expect.ok(app:delete("deleted"))
		expect.ok(app:put("later", "saved with the changes"))
		wait.until_true("a snapshot of the changes", function()
			return #require("kms.base.files").list(folder()) >= 4 and snapshot().unsaved_s == 0
		end)
		local wallet = node.wallet
		node:kill()
		app = start()
		assert.not_equal(wallet, node.wallet)
		assert.equal(key, expect.ok(app:derive({ path = "kept" })).key)
		for i = 1, 20 do assert.equal(("value "):rep(200) .. i, app:value("key " .. i)) end
		assert.same({ "new", "saved with the changes" }, { app:value("replaced"), app:value("later") })
		expect.refused(app:get("deleted"), 404, "not_found")
		local restored = snapshot().restored
		assert.same({ 1, 0, 0 }, { restored.wallets, restored.rejected, restored.bad_files })
		assert.is_true(restored.data_age_s < 600)
		expect.ok(app:put("after", "it is a store like any other"))
	end)

	it("saves what is new when it is told to stop", function()
		local app = start({ SNAPSHOT_INTERVAL_SECONDS = "86400" })
		expect.ok(app:put("last", "moment"))
		assert.equal(0, (node:stop()))
		app = start()
		assert.equal("moment", app:value("last"))
	end)

	it("serves on when its place is gone, says so, and goes on when it is back", function()
		local port = ports.take()
		local app = start({ METRICS_ADDR = "127.0.0.1:" .. port })
		files.remove_dir(dir)
		expect.ok(app:put("key", "value"))
		wait.until_true("a failure", function() return snapshot().state == "failing" end)
		assert.equal("value", app:value("key"))
		assert.equal("no such file or directory", node:control("GET", "/status").control.snapshot.failure)
		assert.truthy(node:log():find("sealed snapshot not written", 1, true))
		local families = prometheus.scrape(port)
		assert.is_true(prometheus.value(families, "kms_snapshot_saves_total", { result = "failed" }) >= 1)
		assert.is_true(prometheus.value(families, "kms_snapshot_unsaved_seconds") > 0)
		assert(uv.fs_mkdir(dir, 448))
		saved.wait(node)
		families = prometheus.scrape(port)
		assert.is_true(prometheus.value(families, "kms_snapshot_saves_total", { result = "ok" }) >= 1)
		assert.is_true(prometheus.value(families, "kms_snapshot_bytes_total") > 0)
		assert.equal(0, prometheus.value(families, "kms_snapshot_not_restored"))
	end)

	it("does not serve from nothing when what there is does not open, until the operator says so", function()
		local app = start()
		expect.ok(app:put("key", "value"))
		node:stop()
		for _, name in ipairs(require("kms.base.files").list(folder())) do files.write(folder() .. "/" .. name, "x") end
		node = nodes.start({ env = env, nowait = true })
		node:wait_log("no manifest is usable: to go on with what there is, start with RESTORE_OLDER=true")
		assert.same({ false, "not restored" }, { node:status().node.service_available, snapshot().state })
		node:stop()
		start({ RESTORE_OLDER = "true" })
		assert.is_nil(snapshot().restored)
	end)

	it("keeps the custodians' shares beside the snapshots", function()
		local people = custodians.make(dir, { "alice", "bob" })
		files.write(dir .. "/custodians.lua", custodians.file(people, 2))
		local app = start({ RECOVERY = dir .. "/custodians.lua" })
		expect.ok(app:put("key", "value"))
		saved.wait(node)
		local list = require("kms.base.files").list
		local secret
		for _, name in ipairs(list(dir)) do secret = name:match("^%x+$") and #name == 16 and dir .. "/" .. name or secret end
		local opened = {}
		for _, name in ipairs(list(secret)) do
			local x = tonumber(name:match("^%x+%-(%d+)%.age$"))
			if x then opened[x] = custodians.open(people[x], files.read(secret .. "/" .. name)) end
		end
		assert.same({ "NKR1", "NKR1", 83 }, { opened[1]:sub(1, 4), opened[2]:sub(1, 4), #opened[2] })
		local _, out = run("list", "--folder", dir, "--json")
		assert.equal(1, #cjson.decode(out).snapshots)
	end)

	it("writes, lists and checks snapshots on command", function()
		local app = start({ SNAPSHOT_INTERVAL_SECONDS = "86400" })
		local socket = node.dir .. "/control.sock"
		expect.ok(app:put("key", "value"))
		local code, out, err = run("save", "--socket", socket)
		assert.same({ 0, "" }, { code, err })
		assert.truthy(out:find("^newest snapshot: %d%d%d%d%-%d%d%-%d%dT"))
		code, out = run("list", "--folder", dir, "--json")
		assert.equal(0, code)
		local list = cjson.decode(out).snapshots
		assert.same({ 1, node.wallet, 1, 1 }, { #list, list[1].wallet, list[1].manifests, list[1].files })
		assert.truthy(select(2, run("list", "--folder", dir)):find(node.wallet, 1, true))
		code, out = run("verify", "--socket", socket)
		assert.equal(0, code, out)
		local snap
		for _, name in ipairs(require("kms.base.files").list(folder())) do snap = name:match("^.*%.snap$") or snap end
		local bytes = files.read(folder() .. "/" .. snap)
		files.write(folder() .. "/" .. snap, bytes:sub(1, -2))
		code, out = run("verify", "--socket", socket)
		assert.equal(1, code)
		local bad = ("bad: %s records %d: chunk 0: "):format(node.wallet, tonumber(snap:match("%d+")))
		assert.truthy(out:find(bad, 1, true), out)
	end)
end)

describe("SNAPSHOT", function()
	it("must be the path of a folder that exists", function()
		local function refused(value)
			return nodes.refused({ SNAPSHOT = value })
		end
		assert.truthy(refused("/nowhere/at/all"):find("/nowhere/at/all is not a folder: make or mount it", 1, true))
		for _, value in ipairs({
			"here", "./here", "/", "/tmp/", "s3://", "s3://UPPER/x", "s3://bucket/", "s3://bucket//a", "s3://bucket/a?b", "odin",
		}) do
			assert.truthy(refused(value):find("variable SNAPSHOT: value '" .. value .. "' is not valid", 1, true), value)
		end
	end)

	it("is off without being set, and then there is nothing to command", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		assert.same({ state = "off" }, node:status().snapshot)
		local code, _, err = nodes.run({ "snapshot", "save", "--socket", node.dir .. "/control.sock" }, { env = {} })
		assert.equal(1, code)
		assert.truthy(err:find("SNAPSHOT is off on this node", 1, true))
	end)
end)
