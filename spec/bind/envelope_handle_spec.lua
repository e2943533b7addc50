--- Envelopes and bodies as handles (csrc/bind/envelope.c, odyn.c), with keys of this process.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local http_head = require("spec.support.http_head")
local kit = require("kms_testkit")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")

local wallet, p384 = native.identity(native.secret_random(32))
local own = native.peer_point(p384:public_der())
local channels = native.channels(16)
local peer, other = crypto.made_up("a peer"), crypto.made_up("somebody else")
local key = crypto.channel_key(peer.scalar, own)
local LARGE = ('{"large":"%s"}'):format(("x"):rep(200000))

local MASTER = ("m"):rep(32)
-- The only way of a test to a secret that it knows.
local master
do
	local unsetenv = require("luv").os_unsetenv
	require("luv").os_setenv("KMS_SPEC_MASTER", crypto.hex(MASTER))
	master = assert(native.take_env("KMS_SPEC_MASTER", 32))
	unsetenv("KMS_SPEC_MASTER")
end
local SYNC_KEY = crypto.derive(MASTER, "0", "sync_hmac_key")

local function hmac(bytes)
	return kit.hmac(SYNC_KEY, bytes)
end

local function text_of(plain, edit)
	local envelope = crypto.seal(key, peer.der, plain)
	if edit then edit(envelope) end
	return cjson.encode(envelope)
end

-- As native.seal writes it.
local function canonical(envelope)
	return ('{"encrypted_data":"%s","nonce":"%s","sender_tee_pubkey":"%s"}'):format(
		envelope.encrypted_data, envelope.nonce, envelope.sender_tee_pubkey)
end

local function public_body(text)
	local server = loopback.answering_once(loopback.reply(text))
	local _, body = native.fetch({ url = server.url, handle = true, max_bytes = #text })
	return body
end

local function test(name, body)
	it(name, function() loopback.run(body) end)
end

describe("an envelope handle", function()
	test("opens once, into memory of the kind that is asked for", function()
		for _, plain in ipairs({ "{}", LARGE }) do
			for _, kind in ipairs({ "guarded", "wiped" }) do
				local text = text_of(plain)
				local envelope = assert(native.envelope(http_head(text), peer.point))
				assert.equal(#text, envelope:size())
				assert.is_false(envelope:authentic())
				local body = assert(envelope:open(p384, channels, kind))
				assert.equal(#plain, body:len())
				assert.equal("ERR_STATE", (select(3, envelope:open(p384, channels, kind))))
				assert.equal("ERR_STATE", (select(3, envelope:odyn_request())))
				assert.equal(#text, envelope:size())
				envelope:close()
				envelope:close()
				assert.has_error(function() envelope:size() end)
			end
		end
	end)

	test("takes a body over, and frees the parser's", function()
		local body = public_body(text_of("{}"))
		local envelope = assert(native.envelope(body, peer.point))
		assert.has_error(function() body:len() end)
		envelope:close()

		local head = http_head(text_of("{}"))
		envelope = assert(native.envelope(head, peer.point))
		assert.not_equal("", head:body())
		envelope:close()
		assert.equal("", head:body())
		head = http_head(text_of("{}"))
		assert(assert(native.envelope(head, peer.point)):open(p384, channels, "wiped"))
		assert.equal("", head:body())
	end)

	test("does not look at a body that is another request's", function()
		local head = http_head(text_of("{}"))
		local envelope = assert(native.envelope(head, peer.point))
		head:release_body()
		assert.equal("ERR_STATE", (select(3, envelope:open(p384, channels, "wiped"))))
		head = http_head(text_of("{}"))
		envelope = assert(native.envelope(head, peer.point))
		head:close()
		assert.equal("ERR_STATE", (select(3, envelope:open(p384, channels, "wiped"))))
		envelope:close()
	end)

	test("is refused where it is none, or another's", function()
		local function code(text, point) return (select(3, native.envelope(http_head(text), point or peer.point))) end
		assert.equal("ERR_ENVELOPE", code("{}"))
		assert.equal("ERR_JSON", code("{"))
		assert.equal("ERR_JSON", code(""))
		assert.equal("ERR_JSON_DUPLICATE", code('{"a":1,"a":2}'))
		assert.equal("ERR_SENDER_KEY", code(text_of("{}"), other.point))
		local body = public_body("{}")
		assert.equal("ERR_ENVELOPE", (select(3, native.envelope(body, peer.point))))
	end)

	test("does not open what was changed", function()
		local function code(edit)
			local envelope = assert(native.envelope(http_head(text_of('{"a":1}', edit)), peer.point))
			return (select(3, envelope:open(p384, channels, "guarded")))
		end
		assert.equal("ERR_DECRYPT", code(function(e) e.nonce = ("0"):rep(64) end))
		assert.equal("ERR_HEX", code(function(e) e.encrypted_data = "zz" .. e.encrypted_data:sub(3) end))
	end)

	test("throws for misuse", function()
		local envelope = assert(native.envelope(http_head(text_of("{}")), peer.point))
		for _, call in ipairs({
			function() native.envelope("text", peer.point) end,
			function() native.envelope(native.text_body("{}"), peer.point) end, -- not public
			function() native.envelope(http_head("{}"), "short") end,
			function() native.envelope(http_head("{}"), peer.point, native.secret_random(16), "00") end,
			function() envelope:open(p384, channels, "plain") end,
			function() envelope:open(wallet, channels, "wiped") end,
			function() envelope:open(p384) end,
		}) do
			assert.has_error(call)
		end
		assert(envelope:open(p384, channels, "wiped"))
	end)
end)

describe("the MAC of an envelope", function()
	test("is checked over the canonical form, members of others included", function()
		for _, plain in ipairs({ "{}", LARGE }) do
			for _, extra in ipairs({ false, "é/\n" }) do
				local envelope = crypto.seal(key, peer.der, plain)
				envelope.a_member = extra or nil
				local text = canonical(envelope)
				if extra then text = text:gsub("^{", '{"a_member":"é/\\n",') end
				local mac = crypto.hex(hmac(text))
				local function authentic(secret, mac_text)
					return assert(native.envelope(http_head(cjson.encode(envelope)), peer.point, secret, mac_text)):authentic()
				end
				assert.is_true(authentic(master, mac))
				assert.is_true(authentic(master, mac:upper()))
				assert.is_false(authentic(master, (mac:byte() == 48 and "1" or "0") .. mac:sub(2)))
				assert.is_false(authentic(master, mac:sub(1, -2)))
				assert.is_false(authentic(master, mac .. "00"))
				assert.is_false(authentic(master, ("g"):rep(64)))
				assert.is_false(authentic(master, nil))
				assert.is_false(authentic(nil, mac))
				assert.is_false(authentic(native.secret_random(32), mac))
			end
		end
	end)

	test("is made of what is sent", function()
		for _, plain in ipairs({ "{}", LARGE }) do
			local sealed = assert(native.seal(native.text_body(plain), p384, channels, peer.point))
			local text = sealed:slice(1, sealed:len())
			assert.equal(crypto.hex(hmac(text)), native.sync_mac(sealed, master))
			assert.equal(text, sealed:slice(1, sealed:len())) -- still there
			-- And the other side agrees.
			assert.equal(canonical(cjson.decode(text)), text)
			assert.equal(plain, crypto.open(key, cjson.decode(text)))
		end
		assert.has_error(function() native.sync_mac(native.text_body("x"), native.secret_random(16)) end)
		assert.has_error(function() native.sync_mac("x", master) end)
	end)
end)

describe("sealing", function()
	test("takes the plaintext over", function()
		local plain = native.text_body("{}")
		local sealed = assert(native.seal(plain, p384, channels, other.point))
		assert.has_error(function() plain:len() end)
		local text = sealed:slice(1, sealed:len())
		assert.equal("{}", crypto.open(crypto.channel_key(other.scalar, own), cjson.decode(text)))
		assert.has_error(function() native.seal("{}", p384, channels, other.point) end)
	end)
end)

describe("Odyn's bodies", function()
	local function wiped(text)
		local _, body = native.fetch({ url = loopback.answering_once(loopback.reply(text)).url, wiped = true })
		return body
	end

	test("carry what is to be decrypted and what was", function()
		local envelope = assert(native.envelope(http_head(text_of("{}")), peer.point))
		local request = assert(envelope:odyn_request())
		assert.has_error(function() request:slice(1, 1) end)
		for _, kind in ipairs({ "guarded", "wiped" }) do
			local answer = wiped('{"plaintext":"{\\"a\\":\\"é\\"}"}')
			local plain = assert(native.odyn_plain(answer, kind))
			assert.has_error(function() answer:len() end)
			assert.equal(#'{"a":"é"}', plain:len())
			local sealed = assert(native.seal(plain, p384, channels, peer.point))
			assert.equal('{"a":"é"}', crypto.open(key, cjson.decode(sealed:slice(1, sealed:len()))))
		end
		local body, message, code = native.odyn_plain(wiped("{}"), "wiped")
		assert.is_nil(body)
		assert.equal("plaintext: the TEE service did not answer as it should", message)
		assert.equal("ERR_TEE", code)
		assert.has_error(function() native.odyn_plain(public_body("{}"), "wiped") end)
		assert.has_error(function() native.odyn_plain(wiped("{}"), "public") end)
	end)

	test("give requests and answers to a service without keys of its own", function()
		local service = native.service({
			self = wallet:address(), nonces = native.nonces(120), channels = channels,
			store = native.store({ self = wallet:address() }),
		})
		local signature = crypto.sign(peer.wallet_key, "x")
		local function parse(plain, kind)
			local body = native.odyn_plain(wiped(cjson.encode({ plaintext = plain })), "guarded")
			return service:parse(body, kind, signature, false)
		end
		local request = assert(parse('{"path":"a"}', "derive"))
		assert.equal("ERR_STATE", (select(3, service:execute(request, "7", signature, 1000)))) -- no master secret
		service:set_master(master)
		local body = assert(service:execute(request, "7", signature, 1000))
		assert.has_error(function() body:slice(1, 1) end)
		local large = cjson.encode({ key = "k", value = crypto.base64(("v"):rep(100000)) })
		assert(service:execute(assert(parse(large, "put")), "7", signature, 1000))
		assert.is_true(assert(service:execute(service:request("get", "k"), "7", signature, 1000)):len() > 100000)
		assert.is_true(assert(service:execute(service:request("list"), "7", signature, 1000)):len() > 10)
		local refused, message, code = parse('{"path":7}', "derive")
		assert.is_nil(refused)
		assert.truthy(message:find("^path: "))
		assert.equal("ERR_FIELD_TYPE", code)
		for _, call in ipairs({
			function() service:open(http_head("{}"), "derive", peer.point, signature, false) end,
			function() service:reply(request, "7", peer.point, signature, 1000) end,
			function() service:has_channel(peer.point) end,
			function() service:parse("{}", "derive", signature, false) end,
		}) do
			assert.has_error(call)
		end
	end)
end)

describe("the double's own functions", function()
	it("are not for a process that is a node", function()
		assert.has_error(function() native.odyn_fake(wallet, p384) end, "this process is a node")
	end)
end)
