-- /kms/data (docs/protocol.md section 8).

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local MIB = 1 << 20

describe("records", function()
	local node, app

	setup(function() node = nodes.start() end)
	teardown(function() node:stop() end)
	before_each(function()
		app = apps.new(node, tostring(math.random(10000, 99999999)), "records " .. crypto.hex(crypto.random(8)))
		node:register({ app })
	end)
	after_each(function() app:close() end)

	local function put(plain)
		return app:call({ method = "PUT", target = "/kms/data", plain = plain })
	end

	local function bad_put(plain)
		return expect.refused(put(plain), 400, "bad_request")
	end

	local function missing(response)
		return expect.refused(response, 404, "not_found")
	end

	local function by_query(key)
		return app:call({ method = "GET", target = "/kms/data?key=" .. apps.encode(key) })
	end

	it("are put, read by path and by query, listed and deleted", function()
		local before = native.wall_ms()
		local written = expect.ok(app:put("path/to/key", "hello")).inner
		assert.same({ app_id = app.number, key = "path/to/key", updated_at_ms = written.updated_at_ms }, written)
		assert.is_true(written.updated_at_ms >= before and written.updated_at_ms <= native.wall_ms() + 1000)
		local want = {
			app_id = app.number, key = "path/to/key", value = crypto.base64("hello"), updated_at_ms = written.updated_at_ms,
		}
		assert.same(want, expect.ok(app:get("path/to/key")).inner)
		assert.same(want, expect.ok(by_query("path/to/key")).inner)
		assert.same(want, expect.ok(app:call({ method = "GET", target = "/kms/data/path/to/key" })).inner)
		expect.ok(app:put("b", "x"))
		assert.same({ app_id = app.number, count = 2, keys = { "b", "path/to/key" } }, expect.ok(app:list()).inner)
		assert.same({ app_id = app.number, key = "b", deleted = true }, expect.ok(app:delete("b")).inner)
		missing(app:get("b"))
		missing(by_query("b"))
		missing(app:delete("b"))
		assert.same({ "path/to/key" }, expect.ok(app:list()).inner.keys)
	end)

	it("are 404 however often a new key asks for them: no such reply costs a turn among new keys", function()
		for _ = 1, 70 do missing(app:get("nothing")) end
	end)

	it("are 404 while they do not exist", function()
		missing(app:get("nothing"))
		missing(app:delete("nothing"))
		assert.same({ app_id = app.number, count = 0, keys = {} }, expect.ok(app:list()).inner)
	end)

	it("belong to one application only", function()
		local other = apps.new(node, tostring(app.number + 1), "other " .. app.app_id)
		local twin = apps.new(node, app.app_id, "twin " .. app.app_id)
		node:register({ other, twin })
		expect.ok(app:put("k", "mine"))
		missing(other:get("k"))
		missing(other:delete("k"))
		assert.same({}, expect.ok(other:list()).inner.keys)
		expect.ok(other:put("k", "theirs"))
		assert.equal("mine", app:value("k"))
		assert.equal("mine", twin:value("k"))
		other:close()
		twin:close()
	end)

	it("come with stamps that always grow", function()
		local last = 0
		for i = 1, 5 do
			local stamp = expect.ok(app:put("k", "v" .. i)).inner.updated_at_ms
			assert.is_true(stamp > last)
			last = stamp
		end
		assert.equal("v5", app:value("k"))
		expect.ok(app:delete("k"))
		assert.is_true(expect.ok(app:put("k", "again")).inner.updated_at_ms > last)
		assert.equal("again", app:value("k"))
	end)

	describe("value", function()
		it("is any bytes, or none", function()
			for _, value in ipairs({ "", "\0", ("\0\xff"):rep(500), crypto.random(5000), "third" }) do
				expect.ok(app:put("k", value))
				assert.equal(value, app:value("k"))
			end
		end)

		it("has at most MAX_KV_VALUE_SIZE_BYTES", function()
			local largest = crypto.random(MIB)
			expect.ok(app:put("large", largest))
			assert.is_true(largest == app:value("large"))
			expect.refused(app:put("large", largest .. "x"), 400, "bad_request")
			assert.is_true(largest == app:value("large"))
		end)

		it("is canonical base64 text", function()
			for _, value in ipairs({
				'"!!!"', '"YQ"', '"YQ="', '"YQ==="', '"YR=="', '" YQ=="', '"YQ==\\n"', '"YQ==YQ=="', '"-_8="', "5", "null",
				"true", "[]", "{}",
			}) do bad_put('{"key":"k","value":' .. value .. "}") end
			bad_put('{"key":"k"}')
			missing(app:get("k"))
		end)
	end)

	describe("key", function()
		it("is 1 to MAX_KEY_BYTES bytes", function()
			bad_put('{"key":"","value":"YQ=="}')
			local longest = ("k"):rep(4096)
			expect.ok(app:put(longest, "v"))
			assert.equal("v", app:value(longest))
			expect.refused(app:put(longest .. "k", "v"), 400, "bad_request")
			local umlauts = ("ü"):rep(2048) -- bytes count, not characters
			expect.ok(app:put(umlauts, "v"))
			expect.refused(app:put(umlauts .. "x", "v"), 400, "bad_request")
			expect.ok(app:delete(longest))
		end)

		it("is text without NUL", function()
			for _, key in ipairs({ "5", "null", "true", "[]", "{}", '"a\\u0000b"', '"\\ud800"' }) do
				bad_put('{"key":' .. key .. ',"value":"YQ=="}')
			end
			bad_put('{"key":"\xff","value":"YQ=="}')
			bad_put('{"value":"YQ=="}')
			for _, plain in ipairs({ "{}", '{"key":5}', '{"key":null}', '{"key":""}' }) do
				expect.refused(app:call({ method = "DELETE", target = "/kms/data", plain = plain }), 400, "bad_request")
			end
		end)

		it("may have every other character", function()
			for _, key in ipairs({
				"a/b", "/", "//", "a b", "a+b", "a%2Fb", "100%", "ключ/鍵/🔑", "?key=x", "#", "a&b=c", ".", "..", "../x", "\1\127",
				"'\"\\", "k ", " k",
			}) do
				expect.ok(app:put(key, "of " .. key))
				assert.equal("of " .. key, app:value(key))
				assert.equal(crypto.base64("of " .. key), expect.ok(by_query(key)).inner.value)
				expect.ok(app:delete(key))
			end
		end)

		it("is percent-decoded once from the path and from the query", function()
			expect.ok(app:put("a/b", "slash"))
			expect.ok(app:put("a%2Fb", "percent"))
			local function get(target)
				return crypto.unbase64(expect.ok(app:call({ method = "GET", target = target })).inner.value)
			end
			assert.equal("slash", get("/kms/data/a%2Fb"))
			assert.equal("slash", get("/kms/data/a%2fb"))
			assert.equal("slash", get("/kms/data/a/b"))
			assert.equal("slash", get("/kms/data?key=a%2Fb"))
			assert.equal("slash", get("/kms/data?x=1&key=a/b"))
			assert.equal("percent", get("/kms/data/a%252Fb"))
			expect.ok(app:put("a b", "space"))
			expect.ok(app:put("a+b", "plus"))
			assert.equal("plus", get("/kms/data/a+b"))
			assert.equal("space", get("/kms/data?key=a+b"))
			assert.equal("plus", get("/kms/data?key=a%2Bb"))
		end)

		it("is refused where its percent-encoding is broken", function()
			for _, target in ipairs({
				"/kms/data/%", "/kms/data/%4", "/kms/data/%zz", "/kms/data?key=%", "/kms/data?key=%zz",
			}) do
				local response = app:call({ method = "GET", target = target })
				expect.refused(response, 400, "bad_request")
			end
		end)
	end)

	describe("ttl_ms", function()
		it("ends a record, and 0 or none does not", function()
			expect.ok(app:put("short", "v", { more = { ttl_ms = 300 } }))
			expect.ok(app:put("forever", "v", { more = { ttl_ms = 0 } }))
			expect.ok(app:put("unset", "v"))
			wait.until_true("expiry", function() return app:get("short").status == 404 end)
			missing(app:delete("short"))
			assert.same({ "forever", "unset" }, expect.ok(app:list()).inner.keys)
			expect.ok(app:put("short", "again"))
			assert.equal("again", app:value("short"))
		end)

		it("is still there before its time", function()
			expect.ok(app:put("k", "v", { more = { ttl_ms = 600000 } }))
			assert.equal("v", app:value("k"))
		end)

		it("is a whole number up to ten years", function()
			local most = 10 * 365 * 24 * 3600 * 1000
			expect.ok(put(('{"key":"k","value":"YQ==","ttl_ms":%d}'):format(most)))
			for _, ttl in ipairs({
				tostring(most + 1), "-1", "1.5", "true", "null and void", '"x"', "[]", "18446744073709551616", "1e3",
			}) do bad_put('{"key":"k","value":"YQ==","ttl_ms":' .. ttl .. "}") end
		end)
	end)
end)

describe("a small store", function()
	local node, app, other

	setup(function()
		node = nodes.start({ env = {
			MAX_APP_STORAGE_BYTES = 10 * 128, MAX_KV_VALUE_SIZE_BYTES = 2000, MAX_NAMESPACES = 2, MAX_KEY_BYTES = 8,
		} })
		app, other = apps.new(node, "500", "small"), apps.new(node, "501", "small neighbour")
		node:register({ app, other })
	end)
	teardown(function() node:stop() end)

	it("evicts what was used least recently, of the same application only", function()
		local value = ("v"):rep(100) -- 128 bytes of ciphertext
		expect.ok(other:put("other", value))
		for i = 1, 10 do expect.ok(app:put("k" .. i, value)) end
		assert.equal(10, expect.ok(app:list()).inner.count)
		assert.equal(value, app:value("k1")) -- a use
		expect.ok(app:put("k11", value))
		assert.is_nil(app:value("k2"))
		assert.equal(value, app:value("k1"))
		assert.equal(value, app:value("k11"))
		expect.refused(app:delete("k2"), 404, "not_found")
		assert.equal(10, expect.ok(app:list()).inner.count)
		assert.equal(value, other:value("other"))
		expect.ok(app:put("k2", value)) -- comes back
		assert.equal(value, app:value("k2"))
	end)

	it("refuses what cannot fit even alone with 413, and keeps what it has", function()
		local largest = 10 * 128 - 28
		expect.ok(app:put("big", ("b"):rep(largest)))
		assert.same({ "big" }, expect.ok(app:list()).inner.keys)
		expect.refused(app:put("bigger", ("b"):rep(largest + 1)), 413, "payload_too_large")
		expect.refused(app:put("big", ("b"):rep(largest + 1)), 413, "payload_too_large")
		assert.equal(("b"):rep(largest), app:value("big"))
		expect.refused(app:put("bigger", ("b"):rep(2001)), 400, "bad_request")
	end)

	it("has the configured limit on keys", function()
		expect.ok(app:put(("k"):rep(8), "v"))
		expect.refused(app:put(("k"):rep(9), "v"), 400, "bad_request")
	end)

	it("refuses one namespace too many with 503, others go on", function()
		local third = apps.new(node, "502", "one too many")
		node:register({ third })
		expect.refused(third:put("k", "v"), 503, "service_unavailable")
		expect.refused(third:get("k"), 404, "not_found")
		assert.same({}, expect.ok(third:list()).inner.keys)
		expect.ok(third:derive({ path = "p" }))
		expect.ok(other:put("k", "v"))
	end)
end)

describe("a store with little room for everything", function()
	it("evicts records of the applications that hold more than their share, never below it", function()
		local node = nodes.start({ env = { MAX_TOTAL_STORAGE_BYTES = 65536, MAX_KV_VALUE_SIZE_BYTES = 8192 } })
		finally(function() node:stop() end)
		local app, other = apps.new(node, "510", "full"), apps.new(node, "511", "late")
		node:register({ app, other })
		expect.ok(other:put("mine", "small"))
		local value = ("x"):rep(4000)
		for i = 1, 100 do expect.ok(app:put("k" .. i, value)) end
		local count = expect.ok(app:list()).inner.count
		assert.is_true(count >= 8 and count * 4000 < 65536, count)
		assert.equal(value, app:value("k100"))
		assert.is_nil(app:value("k1"))
		for i = 1, 5 do expect.ok(other:put("large" .. i, value)) end -- its share is 32 KiB
		assert.equal("small", other:value("mine"))
		for i = 1, 5 do assert.equal(value, other:value("large" .. i)) end
		local left = expect.ok(app:list()).inner.count
		assert.is_true(left < count and left >= 5, left)
	end)
end)

describe("deletions", function()
	it("go on beyond MAX_TOMBSTONES_PER_APP on a single node: no peer has yet to receive them", function()
		local node = nodes.start({ env = { MAX_TOMBSTONES_PER_APP = 2 } })
		finally(function() node:stop() end)
		local app = apps.new(node, "520", "deletes")
		node:register({ app })
		for i = 1, 30 do
			expect.ok(app:put("k" .. i, "v"))
			expect.ok(app:delete("k" .. i))
		end
		assert.same({}, expect.ok(app:list()).inner.keys)
	end)
end)

describe("many clients at once", function()
	it("each get their own answers", function()
		local node = nodes.start()
		finally(function() node:stop() end)
		local list, sent = {}, {}
		for i = 1, 16 do list[i] = apps.new(node, tostring(600 + i % 4), "many " .. i) end
		node:register(list)
		for round = 1, 5 do
			for _, app in ipairs(list) do app.ready_nonce = app:nonce() end
			for i, app in ipairs(list) do
				sent[i] = app:send({
					method = "PUT", target = "/kms/data", nonce = app.ready_nonce,
					inner = { key = "k" .. i, value = crypto.base64(("%d/%d"):format(i, round)) },
				})
			end
			for i, app in ipairs(list) do expect.ok(app:receive(sent[i])) end
		end
		for i, app in ipairs(list) do assert.equal(("%d/5"):format(i), app:value("k" .. i)) end
		assert.equal(16, node:status().data_store.total_keys)
		assert.equal(4, node:status().data_store.namespaces)
		for _, app in ipairs(list) do app:close() end
	end)
end)
