-- Encrypted bodies and what binds them to their exchange (docs/protocol.md section 6).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")

describe("envelope", function()
	local node, app

	setup(function()
		node = nodes.start()
		app = apps.new(node, "200", "envelope")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	local function post(o)
		o.method, o.target = "POST", "/kms/derive"
		if not o.plain and not o.body then o.plain = '{"path":"p"}' end
		return app:call(o)
	end

	local function bad_request(o)
		return expect.refused(post(o), 400, "bad_request")
	end

	local function edited(change)
		return { envelope = change }
	end

	it("is never plaintext", function()
		bad_request({ body = '{"path":"p"}' })
		bad_request({ body = '{"path":"p","sender_tee_pubkey":"","nonce":"","encrypted_data":""}' })
		expect.refused(app:call({
			method = "PUT", target = "/kms/data", body = '{"key":"k","value":"YQ=="}',
		}), 400, "bad_request")
		expect.refused(app:call({ method = "DELETE", target = "/kms/data", body = '{"key":"k"}' }), 400, "bad_request")
	end)

	it("must be a JSON object with its three members", function()
		for _, body in ipairs({ "", " ", "{}", "[]", "null", "1", "{", "hello", "\0", '{"nonce":1}' }) do
			bad_request({ body = body })
		end
		for _, name in ipairs({ "sender_tee_pubkey", "nonce", "encrypted_data" }) do
			bad_request(edited(function(e) e[name] = nil end))
			bad_request(edited(function(e) e[name] = 5 end))
			bad_request(edited(function(e) e[name] = cjson.null end))
			bad_request(edited(function(e) e[name] = { e[name] } end))
		end
		bad_request(edited(function(e) return cjson.encode(e) .. "x" end))
		bad_request(edited(function(e) return '{"nonce":"00",' .. cjson.encode(e):sub(2) end))
	end)

	it("may have more members", function()
		expect.ok(post(edited(function(e) e.version = 1 end)))
	end)

	it("must be hexadecimal", function()
		bad_request(edited(function(e) e.nonce = e.nonce .. "0" end))
		bad_request(edited(function(e) e.nonce = ("z"):rep(64) end))
		bad_request(edited(function(e) e.encrypted_data = e.encrypted_data .. "0" end))
		bad_request(edited(function(e) e.encrypted_data = ("z"):rep(64) end))
		bad_request(edited(function(e) e.nonce = "0x" end))
	end)

	it("takes hex of any case, with or without 0x", function()
		expect.ok(post(edited(function(e)
			for name, text in pairs(e) do e[name] = text:upper() end
		end)))
		expect.ok(post(edited(function(e)
			for name, text in pairs(e) do e[name] = "0x" .. text end
		end)))
	end)

	it("takes nonces of 12 bytes and more, and no shorter one", function()
		for _, len in ipairs({ 12, 13, 16, 32, 64 }) do expect.ok(post({ envelope_nonce = crypto.random(len) })) end
		for _, len in ipairs({ 0, 1, 11 }) do
			bad_request(edited(function(e) e.nonce = e.nonce:sub(1, 2 * len) end))
		end
	end)

	it("must decrypt", function()
		local function flipped(place)
			return edited(function(e)
				local data = crypto.unhex(e.encrypted_data)
				local at = place > 0 and place or #data + 1 + place
				data = data:sub(1, at - 1) .. string.char(data:byte(at) ~ 1) .. data:sub(at + 1)
				e.encrypted_data = crypto.hex(data)
			end)
		end
		bad_request(flipped(1))
		bad_request(flipped(-1))
		bad_request(edited(function(e) e.encrypted_data = e.encrypted_data:sub(1, -3) end))
		bad_request(edited(function(e) e.encrypted_data = e.encrypted_data:sub(1, 30) end))
		bad_request(edited(function(e) e.encrypted_data = "" end))
		bad_request(edited(function(e) e.nonce = ("00"):rep(32) end))
		bad_request({ channel_key = crypto.random(32) })
		bad_request({ channel_key = crypto.channel_key(crypto.made_up("other").scalar, node.point) })
	end)

	it("must name the registered key, which is looked at before anything is decrypted", function()
		local other = crypto.made_up("other")
		local function forbidden(o) return expect.refused(post(o), 403, "forbidden") end
		forbidden({ sender_der = other.der })
		forbidden({ sender_der = other.point })
		forbidden({ sender_der = other.der, channel_key = crypto.channel_key(other.scalar, node.point) })
		forbidden(edited(function(e) e.sender_tee_pubkey, e.encrypted_data = crypto.hex(other.der), ("00"):rep(40) end))
		forbidden({ sender_der = node.der })
	end)

	it("refuses senders that are no P-384 key", function()
		local der = app.identity.der
		for _, sender in ipairs({
			"", "x", der .. "\0", der:sub(1, -2), der:sub(2), ("\0"):rep(120), ("\4"):rep(97),
			"\2" .. app.identity.point:sub(2, 49), der:sub(1, 20) .. "\33" .. der:sub(22),
		}) do
			local response = post({ sender_der = sender })
			assert.is_true(response.status == 400 or response.status == 403, response.status)
		end
		expect.ok(post({}))
	end)

	it("takes the registered key as a bare point", function()
		expect.ok(post({ sender_der = app.identity.point }))
	end)

	it("uses a fresh nonce for every answer", function()
		local seen = {}
		for _ = 1, 5 do
			local nonce = cjson.decode(expect.ok(post({})).body).nonce
			assert.is_nil(seen[nonce])
			seen[nonce] = true
		end
	end)

	describe("inner JSON", function()
		it("is strict", function()
			for _, plain in ipairs({
				"", "{", "[]", "null", '"path"', '{"path":"p"}x', '{"path":"p"} {}', "{'path':'p'}", '{"path":"p",}',
				'{"path":"p","path":"p"}', '{"path":"p","x":{"a":1,"a":2}}', '{"path":"\xff"}', '{"path":"\xc0\x80"}',
				'{"path":"\\ud800"}', '{"path":"\xed\xa0\x80"}', '{"path":"a\nb"}', '{"path":"p","x":01}',
				'{"path":"p","x":NaN}', '\xef\xbb\xbf{"path":"p"}',
			}) do bad_request({ plain = plain }) end
		end)

		it("nests at most 16 deep", function()
			local function nested(depth)
				return '{"path":"p","x":' .. ("["):rep(depth - 1) .. ("]"):rep(depth - 1) .. "}"
			end
			expect.ok(post({ plain = nested(16) }))
			bad_request({ plain = nested(17) })
			bad_request({ plain = '{"path":"p","x":' .. ("["):rep(100000) })
		end)

		it("must not say app_id in a request: only answers have it", function()
			bad_request({ plain = '{"app_id":200,"path":"p"}' })
			bad_request({ plain = '{"path":"p","app_id":null}' })
			bad_request({ plain = '{"path":"p","\\u0061pp_id":1}' })
			for _, o in ipairs({
				{ method = "PUT", target = "/kms/data", plain = '{"app_id":200,"key":"k","value":"YQ=="}' },
				{ method = "DELETE", target = "/kms/data", plain = '{"app_id":200,"key":"k"}' },
			}) do expect.refused(app:call(o), 400, "bad_request") end
			expect.ok(post({ plain = '{"path":"p","x":{"app_id":1}}' }))
		end)

		it("answers in canonical form", function()
			local key = crypto.base64(("\0"):rep(1))
			local plain = expect.ok(post({ plain = '{ "path" : "gr\\u00fc\\u00dfe \\"\\/\\n\\u0001" , "length" : 1 }' })).plain
			local want = '{"app_id":200,"key":"' .. ("."):rep(#key):gsub("%.", "[%%w+/=]")
				.. '","length":1,"path":"grüße \\"/\\n\\u0001"}'
			assert.truthy(plain:find("^" .. want:gsub("[\\]", "%%%0") .. "$"), plain)
			local updated = expect.ok(app:put("b", "v")).inner.updated_at_ms
			assert.equal(('{"app_id":200,"key":"b","updated_at_ms":%d}'):format(updated), app:put("b", "v").plain
				:gsub("%d+}$", ("%d}"):format(updated)))
			assert.equal(('{"app_id":200,"key":"b","updated_at_ms":%d,"value":"dg=="}'):format(
				app:get("b").inner.updated_at_ms), app:get("b").plain)
			assert.equal('{"app_id":200,"count":1,"keys":["b"]}', app:list().plain)
			assert.equal('{"app_id":200,"deleted":true,"key":"b"}', app:delete("b").plain)
			assert.equal('{"app_id":200,"count":0,"keys":[]}', app:list().plain)
		end)
	end)

	describe("pop member", function()
		local bound

		before_each(function()
			bound = apps.new(node, "201", "bound " .. crypto.hex(crypto.random(4)))
			node:register({ bound })
		end)

		it("comes back where it was sent, and only there", function()
			local response = expect.ok(bound:derive({ path = "p" }))
			assert.is_nil(response.inner.pop)
			for _, answer in ipairs({
				bound:derive({ path = "p" }, { pop = true }), bound:put("k", "v", { pop = true }),
				bound:delete("k", { pop = true }),
			}) do assert.equal(answer.signature, expect.ok(answer).inner.pop) end
		end)

		it("must be the signature text of this exchange", function()
			local old = expect.ok(bound:derive({ path = "p" }, { pop = true })).signature
			local function forbidden(o) expect.refused(bound:derive({ path = "p" }, o), 403, "forbidden") end
			forbidden({ pop = old })
			forbidden({ pop = "" })
			forbidden({ pop = "0x00" })
			expect.refused(bound:put("k", "v", { pop = old }), 403, "forbidden")
			assert.is_nil(bound:value("k"))
			expect.refused(bound:call({ method = "POST", target = "/kms/derive", plain = '{"path":"p","pop":5}' }),
				400, "bad_request")
		end)

		it("is compared with the text as sent, not with what it means", function()
			local nonce, timestamp = bound:nonce(), os.time()
			local message = ("NovaKMS:AppAuth:%s:%s:%d"):format(nonce, node.wallet, timestamp)
			local signature = crypto.sign(bound.identity.wallet_key, message)
			expect.refused(bound:derive({ path = "p" }, {
				nonce = nonce, timestamp = timestamp, signature = signature, pop = signature:sub(3),
			}), 403, "forbidden")
		end)

		it("must be there once its wallet has sent it", function()
			expect.ok(bound:derive({ path = "p" }))
			expect.ok(bound:derive({ path = "p" }, { pop = true }))
			expect.refused(bound:derive({ path = "p" }), 403, "forbidden")
			expect.refused(bound:put("k", "v"), 403, "forbidden")
			expect.refused(bound:delete("k"), 403, "forbidden")
			expect.ok(bound:list()) -- no body, nothing to bind
			expect.ok(bound:derive({ path = "p" }, { pop = true }))
			expect.ok(app:derive({ path = "p" })) -- another wallet
		end)

		it("does not bind an application after a wrong one", function()
			expect.refused(bound:derive({ path = "p" }, { pop = "0x00" }), 403, "forbidden")
			expect.ok(bound:derive({ path = "p" }))
		end)
	end)
end)
