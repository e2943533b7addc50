-- Whoever holds the place of a running node's snapshots attacks: the node serves on, says what is wrong, and restores
-- nothing that is not its cluster's newest state.

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local s3_server = require("spec.support.s3_server")
local saved = require("spec.support.saved")
local uv = require("luv")
local wait = require("spec.support.wait")

local list = require("kms.base.files").list

local MASTER, FOREIGN = crypto.keccak256("attacked"), crypto.keccak256("another cluster")
local LATE = 1900000000000 -- a sequence that is newer than all

describe("a node whose snapshots are attacked", function()
	local dir, elsewhere, node, server

	before_each(function() dir, elsewhere = files.temp_dir(), files.temp_dir() end)
	after_each(function()
		if node then node:stop() end
		if server then server:stop() end
		node, server = nil, nil
		files.remove_dir(dir)
		files.remove_dir(elsewhere)
	end)

	-- Starts a node with a new folder, and so with another wallet. Returns an application of it.
	local function start(env, options)
		local all = { SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "1", MASTER_SECRET_HEX = crypto.hex(MASTER) }
		for name, value in pairs(env or {}) do all[name] = value end
		node = nodes.start({ env = all, nowait = options and options.nowait })
		if options and options.nowait then return nil end
		local app = apps.new(node, "200", "attacks")
		node:register({ app })
		return app
	end

	local function snapshot() return node:status().snapshot end

	local function run(program, ...)
		assert.equal(0, (nodes.run({ ... }, { program = program, env = {} })))
	end

	local function copy(from, to) run("/bin/cp", "-a", from, to) end

	-- The folder of the cluster's secret, or of a wallet in it.
	local function folder(wallet)
		for _, name in ipairs(list(dir)) do
			local path = dir .. "/" .. name
			if uv.fs_stat(path .. "/" .. wallet) then return path .. "/" .. wallet, path end
		end
		error("no folder of " .. wallet)
	end

	local function newest(wallet, kind)
		local path, found = folder(wallet), nil
		for _, name in ipairs(list(path)) do found = name:find(kind .. "$") and path .. "/" .. name or found end
		return found
	end

	it("serves and saves on beside junk, links, FIFOs and huge files", function()
		local app = start()
		expect.ok(app:put("key", "value"))
		saved.wait(node)
		local own, secret = folder(node.wallet)
		for i = 1, 10000 do
			local fd = assert(uv.fs_open(("%s/junk %05d"):format(own, i), "w", 384))
			uv.fs_close(fd)
		end
		for i = 1, 100 do
			local wallet = ("%s/0x%040x"):format(secret, i)
			assert(uv.fs_mkdir(wallet, 448))
			files.write(("%s/%020d.manifest"):format(wallet, LATE), "NKS1junk")
		end
		run("/usr/bin/mkfifo", ("%s/%020d.manifest"):format(own, LATE), ("%s/0x%s"):format(secret, ("a"):rep(40)))
		assert(uv.fs_symlink("/", ("%s/0x%s"):format(secret, ("b"):rep(40))))
		assert(uv.fs_symlink("/dev/zero", ("%s/%020d.manifest"):format(own, LATE + 1)))
		local huge = assert(uv.fs_open(("%s/%020d.manifest"):format(own, LATE + 2), "w", 384))
		assert(uv.fs_ftruncate(huge, 10 << 30))
		uv.fs_close(huge)
		expect.ok(app:put("key", "another"))
		saved.wait(node)
		assert.equal("another", app:value("key"))
		node:kill()
		app = start()
		assert.equal("another", app:value("key"))
		assert.equal(1, snapshot().restored.wallets)
		expect.ok(app:put("key", "a third"))
		saved.wait(node)
	end)

	it("writes nothing through a link that takes the place of its folder", function()
		local app = start()
		expect.ok(app:put("key", "value"))
		saved.wait(node)
		local own = folder(node.wallet)
		assert(uv.fs_rename(own, elsewhere .. "/moved"))
		assert(uv.fs_mkdir(elsewhere .. "/victim", 448))
		assert(uv.fs_symlink(elsewhere .. "/victim", own))
		expect.ok(app:put("key", "another"))
		wait.until_true("a failure", function() return snapshot().state == "failing" end)
		local reason = node:control("GET", "/status").control.snapshot.failure
		assert.truthy(reason:find(node.wallet .. " is no folder of its own", 1, true), reason)
		assert.same({}, list(elsewhere .. "/victim"))
		assert.equal("another", app:value("key"))
		uv.fs_unlink(own)
		saved.wait(node)
		assert.truthy(node:log():find("files of this node's sealed snapshots are gone: a full set is written", 1, true))
		node:kill()
		app = start()
		assert.equal("another", app:value("key"))
	end)

	it("restores neither files of another cluster nor manifests of another wallet", function()
		local app = start({ MASTER_SECRET_HEX = crypto.hex(FOREIGN) })
		expect.ok(app:put("theirs", "value"))
		saved.wait(node)
		local theirs = node.wallet
		local foreign = folder(theirs)
		node:kill()
		app = start()
		expect.ok(app:put("ours", "value"))
		saved.wait(node)
		local ours = node.wallet
		node:kill()
		-- The other cluster's wallet in this cluster's folder, and this one's files under its name.
		local _, secret = folder(ours)
		copy(foreign, secret)
		assert(uv.fs_mkdir(("%s/0x%s"):format(secret, ("c"):rep(40)), 448))
		for _, name in ipairs(list(secret .. "/" .. ours)) do
			copy(("%s/%s/%s"):format(secret, ours, name), ("%s/0x%s/%s"):format(secret, ("c"):rep(40), name))
		end
		app = start()
		assert.equal("value", app:value("ours"))
		expect.refused(app:get("theirs"), 404, "not_found")
		local restored = snapshot().restored
		assert.same({ 1, 0 }, { restored.wallets, restored.rejected })
		assert.truthy(node:log():find("a manifest of a sealed snapshot is not usable", 1, true))
	end)

	it("does not serve from a state of before, where another node's manifest shows it", function()
		local app = start()
		expect.ok(app:put("key", "old"))
		saved.wait(node)
		local first = node.wallet
		copy(dir, elsewhere .. "/yesterday")
		expect.ok(app:put("key", "new"))
		saved.wait(node)
		node:kill()
		start()
		saved.wait(node) -- the second node has seen the first one's newest manifest
		node:kill()
		assert(uv.fs_unlink((newest(first, "manifest"))))
		start(nil, { nowait = true })
		node:wait_log("the newest manifest of " .. first .. " is older than the one that ")
		assert.same({ false, "not restored" }, { node:status().node.service_available, snapshot().state })
		node:stop()
		-- All of yesterday: nothing shows it but the age, and anchors.
		files.remove_dir(dir)
		copy(elsewhere .. "/yesterday", dir)
		app = start()
		assert.equal("old", app:value("key"))
		assert.is_true(snapshot().restored.data_age_s >= 0)
	end)

	it("serves on when a bucket's listing has no end, or is full of junk", function()
		server = s3_server.start()
		local env = server:env()
		env.SNAPSHOT = "s3://bucket/kms"
		local app = start(env)
		expect.ok(app:put("key", "value"))
		saved.wait(node)
		server.endless = true
		expect.ok(app:put("key", "another"))
		wait.until_true("a failure", function() return snapshot().state == "failing" end)
		assert.equal("the bucket gives more than 1000 pages of its listing",
			node:control("GET", "/status").control.snapshot.failure)
		assert.equal("another", app:value("key"))
		server.endless = false
		local prefix
		for path in pairs(server.objects) do prefix = path:match("^(.*/)0x%x+/") or prefix end
		for i = 1, 10000 do server.objects[("%sjunk/%d"):format(prefix, i)] = "x" end
		for i = 1, 50 do server.objects[("%s0x%040x/%020d.manifest"):format(prefix, i, LATE)] = "NKS1junk" end
		saved.wait(node)
		node:kill()
		app = start(env)
		assert.equal("another", app:value("key"))
	end)
end)
