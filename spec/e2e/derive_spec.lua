-- POST /kms/derive (docs/protocol.md section 7).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")

local VECTORS = "spec/vectors/derive.json"
local MASTER = crypto.keccak256("a made-up master secret")

describe("derive", function()
	local node, app

	setup(function()
		node = nodes.start({ env = { MASTER_SECRET_HEX = crypto.hex(MASTER) } })
		app = apps.new(node, "400", "derive")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	local function post(plain)
		return app:call({ method = "POST", target = "/kms/derive", plain = plain })
	end

	local function bad_request(plain)
		return expect.refused(post(plain), 400, "bad_request")
	end

	local function key_of(response)
		return crypto.unbase64(expect.ok(response).inner.key)
	end

	it("is HKDF-SHA256 under the application's id", function()
		local response = expect.ok(app:derive({ path = "wallet/root" }))
		assert.same({
			app_id = 400, path = "wallet/root", length = 32,
			key = crypto.base64(crypto.derive(MASTER, "400", "wallet/root")),
		}, response.inner)
	end)

	it("lets context and length enter", function()
		for _, case in ipairs({
			{ "a", "ctx", 32 }, { "a", "", 64 }, { "disk/0", "boot", 1 }, { "x", "y", 1024 }, { "a:b", "c", 33 },
			{ "grüße", "☃", 48 }, { ("p"):rep(4000), ("c"):rep(4000), 32 },
		}) do
			local path, context, length = table.unpack(case)
			local response = app:derive({ path = path, context = context, length = length })
			assert.equal(crypto.hex(crypto.derive(MASTER, "400", path, context, length)), crypto.hex(key_of(response)))
			assert.equal(length, response.inner.length)
			assert.equal(path, response.inner.path)
		end
	end)

	it("takes lengths from 1 to 1024, also as decimal text", function()
		assert.equal(1, #key_of(post('{"path":"p","length":1}')))
		assert.equal(1024, #key_of(post('{"path":"p","length":1024}')))
		assert.equal(32, #key_of(post('{"path":"p","length":"32"}')))
		assert.equal(1024, #key_of(post('{"path":"p","length":"1024"}')))
		assert.equal(32, #key_of(post('{"path":"p"}')))
	end)

	it("refuses every other length", function()
		for _, length in ipairs({
			"0", "1025", "-1", "true", "false", "1.5", "32.0", "3.2e1", '"0"', '"1025"', '"-1"', '"1.5"', '""', '" 32"',
			'"32 "', '"0x20"', '"+32"', '"abc"', "[]", "{}", "[32]", "18446744073709551648", "4294967328",
			'"18446744073709551648"',
		}) do bad_request('{"path":"p","length":' .. length .. "}") end
	end)

	it("needs a path that is text and not blank", function()
		for _, plain in ipairs({
			"{}", '{"path":""}', '{"path":" "}', '{"path":"\\t\\n "}', '{"path":5}', '{"path":null}', '{"path":true}',
			'{"path":["p"]}', '{"path":{}}', '{"context":"c"}', '{"Path":"p"}',
		}) do bad_request(plain) end
	end)

	it("takes a context that is text only", function()
		for _, context in ipairs({ "5", "true", "[]", "{}", '["c"]' }) do
			bad_request('{"path":"p","context":' .. context .. "}")
		end
	end)

	it("gives an application the key of its own records for path data_key", function()
		assert.equal(crypto.derive(MASTER, "400", "data_key"), key_of(app:derive({ path = "data_key" })))
		assert.equal(crypto.derive(MASTER, "400", "data_key", "c"), key_of(app:derive({ path = "data_key", context = "c" })))
	end)

	it("gives instances of one app the same key and other apps others", function()
		local twin, other = apps.new(node, "400", "twin"), apps.new(node, "401", "other")
		node:register({ twin, other })
		local key = key_of(app:derive({ path = "p" }))
		assert.equal(key, key_of(twin:derive({ path = "p" })))
		assert.not_equal(key, key_of(other:derive({ path = "p" })))
		assert.equal(crypto.derive(MASTER, "401", "p"), key_of(other:derive({ path = "p" })))
	end)

	it("keeps app ids whole up to 64 bits", function()
		for _, id in ipairs({ "1", "9223372036854775807", "9223372036854775808", "18446744073709551615" }) do
			local large = apps.new(node, id, "large " .. id)
			node:register({ large })
			local response = large:derive({ path = "p" })
			assert.equal(crypto.derive(MASTER, id, "p"), key_of(response))
			assert.equal('{"app_id":' .. id .. ",", response.plain:sub(1, #id + 11))
		end
	end)

	it("answers several requests that were sent at once on one connection", function()
		local nonces, sent = {}, {}
		for i = 1, 8 do
			app.next_nonce = nil
			nonces[i] = app:nonce()
		end
		for i = 1, 8 do
			sent[i] = app:send({
				method = "POST", target = "/kms/derive", inner = { path = "pipelined " .. i }, nonce = nonces[i],
			})
		end
		for i = 1, 8 do
			assert.equal(crypto.derive(MASTER, "400", "pipelined " .. i), key_of(app:receive(sent[i])))
		end
	end)

	it("answers chunked requests", function()
		local headers, signature = app:pop({})
		local body = cjson.encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"chunked"}'))
		headers[#headers + 1] = { "Transfer-Encoding", "chunked" }
		local conn = app:connection()
		conn:write(require("spec.support.http").format({ method = "POST", target = "/kms/derive", headers = headers }))
		for i = 1, #body, 100 do
			local part = body:sub(i, i + 99)
			conn:write(("%x;ext=1\r\n%s\r\n"):format(#part, part))
		end
		conn:write("0\r\nX-Trailer: ignored\r\n\r\n")
		local response = app:receive({ conn = conn, signature = signature })
		assert.equal(crypto.derive(MASTER, "400", "chunked"), key_of(response))
	end)
end)

describe("derive against known answers", function()
	it("gives what the vectors have", function()
		local vectors, callers = cjson.decode((assert(files.read(VECTORS)))), {}
		local node = nodes.start({ env = { MASTER_SECRET_HEX = vectors[1].master_secret } })
		finally(function() node:stop() end)
		for _, vector in ipairs(vectors) do
			local id = vector.app_id
			if id ~= "0" then -- reserved: no application gets there
				callers[id] = callers[id] or apps.new(node, id, "vector " .. id)
				node:register({ callers[id] })
				local response = callers[id]:derive({ path = vector.path, context = vector.context, length = vector.length })
				assert.equal(vectors[1].master_secret, vector.master_secret)
				assert.equal(vector.key, crypto.hex(crypto.unbase64(expect.ok(response).inner.key)))
			end
		end
	end)
end)
