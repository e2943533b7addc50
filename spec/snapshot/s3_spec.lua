-- kms.snapshot.s3: sealed snapshots in a bucket, against a server that checks signatures on its own.

local s3_server = require("spec.support.s3_server")
local native = require("spec.support.native")
local snapshots = require("spec.support.snapshots")
local uv = require("luv")
local wait = require("spec.support.wait")

local s3 = require("kms.snapshot.s3")

describe("kms.snapshot.s3", function()
	local t, server, place

	local function open(text, changes)
		local env = server:env()
		for name, value in pairs(changes or {}) do env[name] = value or nil end
		uv.os_setenv("AWS_SECRET_ACCESS_KEY", env.AWS_SECRET_ACCESS_KEY or s3_server.SECRET)
		return s3.open(text or "s3://bucket/a/prefix", {
			env = function(name) return env[name] end, wall_ms = native.wall_ms, proxy_of = function() end,
		})
	end

	before_each(function()
		t, server = snapshots.new(), s3_server.start()
		place = assert(open())
		t.place = place
	end)
	after_each(function()
		server:stop()
		t:close()
	end)

	local function at(number) return snapshots.WALLETS[number or 1] end

	-- Calls a method of the secret's place.
	local function call(method, ...)
		local here = place(t.secret)
		return snapshots.wait(here[method], here, ...)
	end

	local function write(sequence, kind, text)
		local body = native.text_body(text)
		return call("write", at(), sequence, kind, body, native.hex_encode(native.sha256(text)))
	end

	it("takes the secret access key out of the environment", function()
		assert.is_nil(uv.os_getenv("AWS_SECRET_ACCESS_KEY"))
	end)

	it("writes once, lists, reads and removes", function()
		assert.same({}, call("list"))
		assert.is_true(write(5, "records", "five"))
		assert.is_true(write(6, "manifest", "six"))
		assert.is_true(write(4, "manifest", "four"))
		assert.same({ nil, "there is such a file", "ERR_STATE" }, { write(6, "manifest", "again") })
		server.objects["/bucket/a/prefix/other"] = "not ours"
		assert.same({ [at()] = { manifests = { 4, 6 }, records = { [5] = true }, unfinished = {} } }, call("list"))
		assert.equal(3, call("read", at(), 6, "manifest"):len())
		assert.same({ nil, "file does not exist", "ERR_FILE_MISSING" }, { call("read", at(), 7, "manifest") })
		assert.is_true(call("remove", at(), 6, "manifest"))
		assert.is_true(call("remove", at(), 6, "manifest"))
		assert.same({ 4 }, call("list")[at()].manifests)
	end)

	it("lists page after page", function()
		for i = 1, 7 do assert.is_true(write(i, "manifest", "x")) end
		server.page = 2
		assert.same({ 1, 2, 3, 4, 5, 6, 7 }, call("list")[at()].manifests)
	end)

	it("saves and restores like a folder", function()
		local kept, store = t:saved(1, "a", 3)
		t:fill(store, "b", 2)
		assert.is_true(t:save(kept))
		t:saved(2, "c", 1)
		local to = snapshots.store(at(3))
		assert.is_true(snapshots.wait(function() return t:restore(to):run(t.secret) end))
		assert.equal("a1 a2 a3 b1 b2 c1", t:keys(to))
		for path, bytes in pairs(server.objects) do
			if path:find("snap$") then server.objects[path] = bytes:sub(1, -2) end
		end
		to = snapshots.store(at(3))
		local ok, message = snapshots.wait(function() return t:restore(to):run(t.secret) end)
		assert.is_nil(ok)
		assert.truthy(message:find("no sealed snapshot is whole", 1, true))
	end)

	it("fails with what the server says, and neither writes nor restores then", function()
		local kept, store = t:saved(1, "a", 3)
		t:fill(store, "b", 2)
		server.status = 503
		assert.same({ nil, "the bucket's server answers with HTTP 503 SlowDown" }, { t:save(kept) })
		local to = snapshots.store(at(3))
		local restoring = t:restore(to)
		local ok, message = snapshots.wait(restoring.run, restoring, t.secret)
		assert.same({ nil, "sealed snapshots are not restored: the bucket's server answers with HTTP 503 SlowDown" },
			{ ok, message })
		server.status = nil
		assert.is_true(t:save(kept))
		assert.is_true(snapshots.wait(restoring.run, restoring, t.secret))
		assert.equal("a1 a2 a3 b1 b2", t:keys(to))
	end)

	it("holds the end of the process up no longer than the deadline when the server hangs", function()
		local kept, store = t:saved(1, "a", 3)
		t:fill(store, "b", 2)
		server.hangs = true
		snapshots.wait(kept.at_stop, kept, t.mono)
		assert.truthy(t:logged("stopping before the sealed snapshot is written"))
		assert.is_true(kept.saving)
		assert.same({ nil, "a sealed snapshot is being written" }, { t:save(kept) })
		server.hangs = false
		wait.until_true("the end of writing", function() return not kept.saving end)
		assert.is_false(kept:is_behind())
	end)

	it("does not take an object that cannot be read now for a bad one", function()
		t:saved(1, "a", 3)
		local here = place(t.secret)
		local list = here.list
		getmetatable(here).__index.list = function(...)
			local listing = list(...)
			server.status = 500
			return listing
		end
		finally(function() getmetatable(here).__index.list = list end)
		local to = snapshots.store(at(3))
		local ok, message = snapshots.wait(function() return t:restore(to):run(t.secret) end)
		assert.same({ nil, "sealed snapshots are not restored: the bucket's server answers with HTTP 500" }, { ok, message })
		assert.is_nil(t:logged("a manifest of a sealed snapshot is not usable"))
	end)

	it("is refused with another key, region or token by the server", function()
		for _, changes in ipairs({
			{ AWS_SECRET_ACCESS_KEY = "another" }, { AWS_REGION = "us-east-1" }, { AWS_ACCESS_KEY_ID = "ANOTHER" },
		}) do
			place = assert(open(nil, changes))
			local _, message = call("list")
			assert.equal("the bucket's server answers with HTTP 403 SignatureDoesNotMatch", message)
		end
		place = assert(open("s3://bucket", { AWS_SESSION_TOKEN = "a token" }))
		assert.same({}, call("list"))
	end)

	it("needs credentials and a proper endpoint", function()
		for _, case in ipairs({
			{ { AWS_ACCESS_KEY_ID = false }, "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" },
			{ { AWS_SECRET_ACCESS_KEY = ("x"):rep(61) }, "AWS_SECRET_ACCESS_KEY: the value is not valid" },
			{ { AWS_ENDPOINT_URL = "ftp://x" }, "AWS_ENDPOINT_URL: not a URL" },
			{ { AWS_REGION = "a/b" }, "AWS_REGION: not a region's name" },
		}) do
			local opened, message = open(nil, case[1])
			assert.is_nil(opened)
			assert.truthy(message:find(case[2], 1, true), message)
		end
	end)
end)
