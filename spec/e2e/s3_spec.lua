-- Sealed snapshots of a running node in a bucket: against the server of these specs, and against s3rver where `make s3`
-- has installed it.

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local s3_request = require("kms.snapshot.s3_request")
local s3_server = require("spec.support.s3_server")
local saved = require("spec.support.saved")
local snapshots = require("spec.support.snapshots")
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

	-- Writes, saves, loses the node, and reads.
	local function survives(env)
		local app = start(env)
		for i = 1, 10 do expect.ok(app:put("key " .. i, "value " .. i)) end
		expect.ok(app:put("large", ("x"):rep(1000000)))
		saved.wait(node)
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
			saved.wait(node)
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
			saved.wait(node)
		end)
	end)

	describe("on s3rver", function()
		local dir, process, env

		before_each(function()
			if not uv.fs_stat(S3RVER) then return end
			local port = ports.take()
			dir = files.temp_dir()
			assert(uv.fs_mkdir(dir .. "/bucket", 448))
			local out = assert(uv.fs_open(dir .. "/log", "w", 384))
			-- Its tokens of further pages are made with a cipher that OpenSSL 3 has among its old ones only.
			process = nodes.spawn({ "-d", dir, "-a", "127.0.0.1", "-p", tostring(port) },
				{ program = uv.cwd() .. "/" .. S3RVER, env = { NODE_OPTIONS = "--openssl-legacy-provider" } }, out, out)
			uv.fs_close(out)
			wait.until_true("s3rver", function() return http.get(port, "/") end)
			env = {
				AWS_ENDPOINT_URL = "http://127.0.0.1:" .. port, AWS_ACCESS_KEY_ID = "S3RVER", AWS_SECRET_ACCESS_KEY = "S3RVER",
			}
		end)
		after_each(function()
			if not process then return end
			uv.kill(process.pid, "sigkill")
			nodes.reap(process, 60)
			files.remove_dir(dir)
			process = nil
		end)

		-- Makes a request to it as a node would. Returns the response.
		local function request(method, path, options)
			options = options or {}
			uv.os_setenv("AWS_SECRET_ACCESS_KEY", env.AWS_SECRET_ACCESS_KEY)
			local requests = assert(s3_request.new({
				env = function(name) return env[name] end, wall_ms = native.wall_ms, proxy_of = function() end,
			}))
			options.method, options.path = method, "/bucket" .. path
			return assert(snapshots.wait(requests.request, requests, options))
		end

		local function put(path, text)
			local response = request("PUT", path, {
				body = native.text_body(text), sha256 = native.hex_encode(native.sha256(text)),
			})
			assert.equal(200, response.status)
		end

		it("loses nothing that was saved", function()
			if not process then return pending("s3rver is not installed: make s3") end
			survives(env)
		end)

		it("restores beside pages of junk, and an older state where the newest file was replaced", function()
			if not process then return pending("s3rver is not installed: make s3") end
			local app = start(env)
			expect.ok(app:put("kept", "value"))
			saved.wait(node)
			local first = node:status().snapshot.saved_at_ms
			expect.ok(app:put("lost", "value"))
			wait.until_true("another snapshot", function()
				local now = node:status().snapshot
				return now.unsaved_s == 0 and now.saved_at_ms > first
			end)
			local wallet = node.wallet
			node:kill()
			local hash = crypto.hex(crypto.keccak256(crypto.unhex(MASTER_HEX))):sub(1, 16)
			local prefix = ("/of/kms/%s/"):format(hash)
			for i = 1, 1100 do put(("%s0/%d"):format(prefix, i), "junk") end -- a page has a thousand, and they come first
			put(("%s0x%s/%020d.manifest"):format(prefix, ("a"):rep(40), 1900000000000), "NKS1junk")
			local listing = request("GET", "", { query = { ["list-type"] = "2", prefix = prefix:sub(2) .. wallet } }).body
			local newest
			for key in listing:gmatch("<Key>([^<]+%.snap)</Key>") do newest = key end
			put("/" .. newest, "NKS1" .. ("x"):rep(100))
			app = start(env)
			assert.equal("value", app:value("kept"))
			expect.refused(app:get("lost"), 404, "not_found")
			assert.truthy(node:log():find("an older sealed snapshot is used", 1, true))
		end)
	end)
end)
