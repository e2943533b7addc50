-- Sealed snapshots of a running node in a bucket: against the server of these specs, and against s3rver where `make s3`
-- has installed it.

local apps = require("spec.support.app")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local s3_server = require("spec.support.s3_server")
local uv = require("luv")
local wait = require("spec.support.wait")

local MASTER_HEX = ("5a"):rep(32)
local HANGS_S = 150 -- a node gives a request up after 20 s without a byte
local S3RVER = "spec/snapshot/s3rver/node_modules/s3rver/bin/s3rver.js"

describe("a node with SNAPSHOT=s3://...", function()
	local node

	after_each(function()
		if node then node:stop() end
		node = nil
	end)

	-- Starts a node with a new folder, and so with another wallet. Returns an application of it.
	local function start(env)
		local all = { SNAPSHOT = "s3://bucket/of/kms", SNAPSHOT_INTERVAL_SECONDS = "1", MASTER_SECRET_HEX = MASTER_HEX }
		for name, value in pairs(env) do all[name] = value end
		node = nodes.start({ env = all })
		local app = apps.new(node, "200", "s3")
		node:register({ app })
		return app
	end

	local function wait_saved()
		wait.until_true("a snapshot of everything", function()
			local now = node:status().snapshot
			return now.saved_at_ms and now.unsaved_s == 0 and now.state == "ok"
		end)
	end

	-- Writes, saves, loses the node, and reads.
	local function survives(env)
		local app = start(env)
		for i = 1, 10 do expect.ok(app:put("key " .. i, "value " .. i)) end
		expect.ok(app:put("large", ("x"):rep(1000000)))
		wait_saved()
		node:kill()
		app = start(env)
		for i = 1, 10 do assert.equal("value " .. i, app:value("key " .. i)) end
		assert.equal(1000000, #app:value("large"))
		assert.equal(1, node:status().snapshot.restored.wallets)
	end

	describe("on the specs' own server", function()
		local server

		before_each(function() server = s3_server.start() end)
		after_each(function() server:stop() end)

		it("loses nothing that was saved, and hides the secret access key", function()
			survives(server:env())
			local environ = files.read(("/proc/%d/environ"):format(node.pid))
			assert.truthy(environ:find(s3_server.KEY_ID, 1, true))
			assert.is_nil(environ:find(s3_server.SECRET, 1, true))
		end)

		it("serves on while the server refuses or hangs, and says so", function()
			local app = start(server:env())
			expect.ok(app:put("first", "1"))
			wait_saved()
			server.status = 503
			expect.ok(app:put("second", "2"))
			wait.until_true("a failure", function() return node:status().snapshot.state == "failing" end)
			local why = node:control("GET", "/status").control.snapshot.failure
			assert.equal("the bucket's server answers with HTTP 503 SlowDown", why)
			server.status, server.hangs = nil, true
			local seen = #server.requests
			wait.until_true("a request that hangs", function() return #server.requests > seen end)
			expect.ok(app:put("third", "3"))
			assert.equal("2", app:value("second"))
			-- While the request hangs, /status counts the seconds; when it has waited for long enough, it is a failure.
			local failures = node:status().snapshot.failures
			wait.until_true("the end of the request", function()
				local now = node:status().snapshot
				assert.is_true(now.unsaved_s > 0)
				return now.state == "failing" and now.failures > failures
			end, HANGS_S)
			assert.equal("3", app:value("third"))
			server.hangs = false
			wait_saved()
		end)
	end)

	it("loses nothing that was saved: s3rver", function()
		if not uv.fs_stat(S3RVER) then return pending("s3rver is not installed: make s3") end
		local dir, port = files.temp_dir(), ports.take()
		assert(uv.fs_mkdir(dir .. "/bucket", 448))
		local out = assert(uv.fs_open(dir .. "/log", "w", 384))
		local process = nodes.spawn({ "-d", dir, "-a", "127.0.0.1", "-p", tostring(port) },
			{ program = uv.cwd() .. "/" .. S3RVER, env = {} }, out, out)
		uv.fs_close(out)
		finally(function()
			uv.kill(process.pid, "sigkill")
			nodes.reap(process, 60)
			files.remove_dir(dir)
		end)
		wait.until_true("s3rver", function() return http.get(port, "/") end)
		survives({
			AWS_ENDPOINT_URL = "http://127.0.0.1:" .. port, AWS_ACCESS_KEY_ID = "S3RVER", AWS_SECRET_ACCESS_KEY = "S3RVER",
		})
	end)
end)
