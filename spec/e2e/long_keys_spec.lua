--- What can be written can be read, listed and deleted, whatever its key: at the limits and one past them, over HTTP
-- and with `nova-kms call`.

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local limits = require("kms.config.limits")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local APP_ID = "820"
local LONGEST = 4096 -- MAX_KEY_BYTES

-- Keys of `len` bytes, all of which URLs must encode: the first kind is escaped in JSON as well.
local function keys_of(len)
	return { ("\1"):rep(len), ("é"):rep(len // 2) .. (" "):rep(len % 2), ("/"):rep(len) }
end

describe("a key at its limit", function()
	local node, app, peer, dir

	-- A record that came from a member.
	local function replicate(key, value)
		local response = peer:delta({ [APP_ID] = { peer:record(APP_ID, key, value) } })
		assert.equal(1, response.inner.merged, response.body)
	end

	setup(function()
		node = nodes.start({ env = { ALLOW_PARTIAL_REPLICATION = "true" } })
		dir = files.temp_dir()
		files.write(dir .. "/app.seed", ("ab"):rep(32) .. "\n")
		app = apps.with_identity(node, APP_ID, crypto.seed_identity(("\xab"):rep(32)))
		peer = peers.new(node, "long keys peer")
		node:register({ app, peer })
		wait.until_true("the node to know the peer", function() return peer:ask_secret().status ~= 403 end)
		peer:join()
	end)
	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	local function by_query(key)
		return app:call({ method = "GET", target = "/kms/data?key=" .. apps.encode(key) })
	end

	-- Reads, lists and deletes a record by every route.
	local function goes_through(key, value)
		assert.equal(value, app:value(key))
		assert.equal(crypto.base64(value), expect.ok(by_query(key)).inner.value)
		local target = ("/kms/data?prefix=%s&limit=10000"):format(apps.encode(key))
		assert.same({ key }, expect.ok(app:call({ method = "GET", target = target })).inner.keys)
		local after = target .. "&after=" .. apps.encode(key)
		assert.same({}, expect.ok(app:call({ method = "GET", target = after })).inner.keys)
		expect.ok(app:delete(key))
		expect.refused(app:get(key), 404, "not_found")
	end

	it("is written, read, listed and deleted by every route", function()
		for _, key in ipairs(keys_of(LONGEST)) do
			expect.ok(app:put(key, "v"))
			goes_through(key, "v")
		end
	end)

	it("is with the largest value as well", function()
		local value = crypto.random(1 << 20)
		local key = keys_of(LONGEST)[1]
		expect.ok(app:put(key, value))
		goes_through(key, value)
		expect.refused(app:put(key, value .. "x"), 400, "bad_request")
	end)

	it("is not written one past it", function()
		for _, key in ipairs(keys_of(LONGEST + 1)) do
			expect.refused(app:put(key, "v"), 400, "bad_request")
			expect.refused(app:get(key), 404, "not_found")
			expect.refused(app:delete(key), 404, "not_found")
		end
	end)

	it("is read, listed and deleted where a member wrote it, up to 65 536 bytes", function()
		for _, len in ipairs({ LONGEST + 1, limits.PEER_KEY }) do
			for _, key in ipairs(keys_of(len)) do
				replicate(key, "of a member")
				goes_through(key, "of a member")
			end
		end
	end)

	it("is refused one past that", function()
		for _, key in ipairs(keys_of(limits.PEER_KEY + 1)) do
			expect.refused(app:get(key), 400, "bad_request")
			expect.refused(by_query(key), 400, "bad_request")
			expect.refused(app:delete(key), 400, "bad_request")
		end
	end)

	it("may be in a request line of exactly its limit; beyond it there is 414", function()
		local fixed = #"GET / HTTP/1.1\r\n"
		for extra, status in pairs({ [0] = 404, [1] = 414 }) do
			local response = http.request(node.port, { target = "/" .. ("a"):rep(limits.LINE - fixed + extra) })
			assert.equal(status, response.status)
		end
	end)

	describe("with `nova-kms call`", function()
		local function call(name, ...)
			return nodes.run({ "call", name, "--url", "http://127.0.0.1:" .. node.port, "--seed", dir .. "/app.seed", ... },
				{ env = {} })
		end

		local function succeeds(want, ...)
			local code, out, message = call(...)
			assert.equal(0, code, message)
			if want then assert.is_true(out == want, out:sub(1, 100)) end
		end

		it("goes the same way", function()
			for _, key in ipairs(keys_of(LONGEST)) do
				succeeds(nil, "put", "--key", key, "--value", "v")
				succeeds("v", "get", "--key", key)
				succeeds(nil, "list", "--prefix", key, "--json")
				succeeds(nil, "delete", "--key", key)
				assert.not_equal(0, (call("get", "--key", key)))
			end
			for _, key in ipairs(keys_of(LONGEST + 1)) do
				local code, _, message = call("put", "--key", key, "--value", "v")
				assert.not_equal(0, code)
				assert.truthy(message:find("key: key length is out of range", 1, true), message)
			end
		end)

		it("reads and deletes what a member wrote", function()
			for _, like in ipairs(keys_of(limits.PEER_KEY)) do
				local key = like:sub(1, -3) .. "%%"
				replicate(key, "v")
				succeeds("v", "get", "--key", key)
				succeeds(nil, "delete", "--key", key)
			end
		end)
	end)
end)

describe("limits that contradict each other", function()
	it("are refused at the start and by `config check`, which say what is needed", function()
		local wrong = { MAX_REQUEST_BODY_BYTES = 2 << 20 }
		local want = "variable MAX_REQUEST_BODY_BYTES: value '2097152' is not valid with MAX_KV_VALUE_SIZE_BYTES=1048576"
		assert.truthy(nodes.refused(wrong):find(want, 1, true))
		local code, out, message = nodes.run({ "config", "check" }, { env = nodes.env("/tmp", 1, wrong) })
		assert.not_equal(0, code)
		assert.truthy((out .. message):find(want, 1, true), out .. message)
	end)

	it("are not derived ones: a node with the longest keys and large values serves them", function()
		local node = nodes.start({ env = { MAX_KEY_BYTES = 65536, MAX_KV_VALUE_SIZE_BYTES = 3 << 20 } })
		finally(function() node:stop() end)
		local app = apps.new(node, APP_ID, "derived")
		node:register({ app })
		local key, value = keys_of(65536)[1], crypto.random(3 << 20)
		expect.ok(app:put(key, value))
		assert.is_true(value == app:value(key))
		expect.ok(app:delete(key))
	end)
end)
