-- Places of sealed snapshots that take none: a disk that is full, a folder without permission. The node serves on, says
-- so, and writes when it can.

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local saved = require("spec.support.saved")
local uv = require("luv")
local wait = require("spec.support.wait")

local SMALL, LARGE = "256k", "64m" -- sizes of the disk
local VALUE = ("v"):rep(100000)

describe("a node whose snapshots have no room or right", function()
	local dir, node

	before_each(function() dir = files.temp_dir() end)
	after_each(function()
		if node then node:stop() end
		node = nil
		files.remove_dir(dir)
	end)

	local function start(options)
		options.env = {
			SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "1", MASTER_SECRET_HEX = crypto.hex(crypto.keccak256("no room")),
		}
		node = nodes.start(options)
		local app = apps.new(node, "200", "snapshots")
		node:register({ app })
		return app
	end

	local function snapshot() return node:status().snapshot end

	-- Waits until the node says that it cannot write, and why; it serves all the same.
	local function fails_with(app, why)
		wait.until_true("a failure", function() return snapshot().state == "failing" end)
		local now = snapshot()
		assert.is_true(now.failures >= 1 and now.unsaved_s > 0)
		assert.equal(why, node:control("GET", "/status").control.snapshot.failure:lower())
		assert.truthy(node:log():find("sealed snapshot not written", 1, true))
		expect.ok(app:put("meanwhile", "served"))
		assert.equal("served", app:value("meanwhile"))
	end

	local function sh(command)
		return nodes.run({ "-c", command }, { program = "/bin/sh", env = { PATH = os.getenv("PATH") } }) == 0
	end

	it("serves on when the disk is full, leaves nothing half there, and writes when there is room", function()
		local mount = ("mount -t tmpfs -o size=%s,mode=0700 tmpfs %s"):format(SMALL, dir)
		if not sh(("unshare -m sh -c '%s'"):format(mount)) then return pending("mounting a small disk needs root") end
		-- The disk is in the node's own namespace: it goes with the process.
		local program = dir .. ".node"
		finally(function() os.remove(program) end)
		files.write(program, ("#!/bin/sh\nexec unshare -m sh -c '%s && exec %s \"$@\"' sh \"$@\"\n"):format(mount,
			nodes.program), 448)
		local app = start({ program = program })
		expect.ok(app:put("first", "1"))
		saved.wait(node)
		for i = 1, 8 do expect.ok(app:put("key " .. i, VALUE)) end
		fails_with(app, "no space left on device")
		local inside = ("nsenter -t %d -m -r "):format(node.pid)
		-- What was begun is gone, but for a moment in each attempt: it would keep the disk full.
		wait.until_true("what was begun to go", function()
			return sh(("! %s find %s -type f ! -name '*.snap' ! -name '*.manifest' | grep ."):format(inside, dir))
		end)
		assert.is_true(sh(inside .. ("mount -o remount,size=%s %s"):format(LARGE, dir)))
		saved.wait(node)
		local code, out = nodes.run({ "snapshot", "verify", "--socket", node.dir .. "/control.sock" }, { env = {} })
		assert.equal(0, code, out)
	end)

	it("serves on without permission, and writes when it has it again", function()
		-- What root may do, permission or not.
		local program = dir .. ".node"
		finally(function() os.remove(program) end)
		files.write(program, ("#!/bin/sh\nexec %s %s \"$@\"\n"):format(
			uv.getuid() == 0 and "setpriv --bounding-set=-dac_override,-dac_read_search" or "", nodes.program), 448)
		local app = start({ program = program })
		expect.ok(app:put("first", "1"))
		saved.wait(node)
		assert.is_true(sh(("find %s -type d -exec chmod 500 {} +"):format(dir)))
		expect.ok(app:put("second", "2"))
		fails_with(app, "permission denied")
		assert.is_true(sh(("find %s -type d -exec chmod 700 {} +"):format(dir)))
		saved.wait(node)
	end)
end)
