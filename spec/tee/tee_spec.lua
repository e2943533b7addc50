--- What every TEE backend has to give (lua/kms/tee/init.lua), against each of them: sim in this
-- process, nitro in this process on a fake device, odyn with its service in another.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local http_head = require("spec.support.http_head")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local odyn_process = require("spec.support.odyn")
local tee = require("kms.tee")
local tx = require("spec.support.tx")

local peer = crypto.made_up("a peer")
local stranger = crypto.made_up("somebody else")
local SIGNATURE = crypto.sign(peer.wallet_key, "whatever it is")
local LARGE = ("x"):rep(300000) -- worked on in the pool

local silent = { info = function() end, warn = function() end, limited = function() end }
local channels = native.channels(64)

local function open_sim(dir)
	return tee.open({ config = { TEE = "sim", DATA_DIR = dir }, log = silent, channels = channels })
end

local function service_of(backend)
	local own = backend.wallet ~= nil
	local store = native.store({ self = backend.address })
	local service = native.service({
		wallet = backend.wallet, p384 = backend.p384, self = not own and backend.address or nil,
		nonces = native.nonces(120), channels = channels, store = store,
	})
	service:set_master(native.secret_random(32))
	return service, store
end

-- An envelope of a peer's as JSON text.
local function sealed_by(identity, backend, plain)
	return cjson.encode(crypto.seal(crypto.channel_key(identity.scalar, backend.point), identity.der, plain))
end

-- A public body, which in a node comes from fetch: here from a server of this process.
local function public_body(text)
	local server = loopback.answering_once(loopback.reply(text))
	local status, body = native.fetch({ url = server.url, handle = true, max_bytes = #text })
	assert(status == 200)
	return body
end

local function opened_by(identity, backend, body)
	local envelope = cjson.decode(type(body) == "string" and body or body:slice(1, body:len()))
	assert.equal(crypto.hex(backend.public_der), envelope.sender_tee_pubkey)
	return crypto.open(crypto.channel_key(identity.scalar, backend.point), envelope)
end

local function caller_of(identity)
	return { wallet = identity.wallet, point = identity.point, signature = SIGNATURE, app_id = "7" }
end

local function contract(name, make, finish)
	describe("a TEE backend, " .. name, function()
		local backend, service

		setup(function()
			loopback.run(function()
				backend = assert(make())
				assert(backend:identify())
				service = service_of(backend)
			end)
		end)
		teardown(function() finish() end)

		-- A test in a coroutine: every call may wait.
		local function test(text, body)
			it(text, function() loopback.run(body) end)
		end

		test("says who it is", function()
			assert.equal(name, backend.name)
			assert.equal(backend.address, native.address(backend.address))
			assert.equal(120, #backend.public_der)
			assert.equal(backend.point, native.peer_point(backend.public_der))
		end)

		test("signs messages (EIP-191)", function()
			for _, text in ipairs({ "NovaKMS:Response:0x00:0x11", 'quotes " and \\ and /', "é\0\1" }) do
				local signature = assert(backend:sign(text))
				assert.truthy(signature:find("^0x[0-9a-f]+$") and #signature == 132)
				assert.equal(backend.address, crypto.recover(text, signature))
			end
		end)

		test("signs transactions", function()
			local fields = {
				chain_id = "0x14a34", nonce = "0x0", max_priority_fee_per_gas = "0x1", max_fee_per_gas = "0x100",
				gas_limit = "0x5208", to = "0x" .. ("ab"):rep(20), value = "0x0", data = "0x" .. ("cd"):rep(36),
			}
			local raw, hash = assert(backend:sign_transaction(fields))
			assert.truthy(raw:find("^0x02"))
			assert.equal("0x" .. crypto.hex(crypto.keccak256(crypto.unhex(raw:sub(3)))), hash)
			local read = tx.decode(raw)
			assert.equal(backend.address, read.from)
			assert.equal(fields.to, read.to)
		end)

		test("gives random secrets", function()
			local first, second = assert(backend:random_secret()), assert(backend:random_secret())
			assert.is_false(first:equals(second))
			assert.equal(66, #first:keccak256())
		end)

		for _, kind in ipairs({ "guarded", "wiped" }) do
			test("opens envelopes into " .. kind .. " memory, and seals them to a peer", function()
				for _, plain in ipairs({ '{"a":"é\\n\\u0001/\\""}', "{}", '{"large":"' .. LARGE .. '"}' }) do
					local envelope = assert(native.envelope(http_head(sealed_by(peer, backend, plain)), peer.point))
					assert.is_false(envelope:authentic())
					local body = assert(backend:open(envelope, peer.point, kind))
					assert.equal(#plain, body:len())
					assert.has_error(function() body:slice(1, 1) end)
					local sealed = assert(backend:seal(body, peer.point))
					assert.has_error(function() body:len() end) -- closed
					assert.equal(plain, opened_by(peer, backend, sealed:slice(1, sealed:len())))
				end
			end)
		end

		test("opens an envelope that another server sent", function()
			local envelope = assert(native.envelope(public_body(sealed_by(peer, backend, '{"b":1}')), peer.point))
			assert.equal(7, assert(backend:open(envelope, peer.point, "guarded")):len())
			assert.same({ nil, "ERR_STATE" }, { (function()
				local body, _, code = backend:open(envelope, peer.point, "guarded")
				return body, code
			end)() })
		end)

		test("says ERR_DECRYPT for what was not made for its key", function()
			local key = crypto.channel_key(peer.scalar, stranger.point)
			local text = cjson.encode(crypto.seal(key, peer.der, "{}"))
			local body, message, code = backend:open(native.envelope(http_head(text), peer.point), peer.point, "wiped")
			assert.is_nil(body)
			assert.equal("cannot decrypt", message)
			assert.equal("ERR_DECRYPT", code)
		end)

		test("opens an application's request and answers it", function()
			local caller = caller_of(peer)
			local plain = cjson.encode({ path = "a/b", pop = SIGNATURE })
			local request = assert(backend:open_request(service, http_head(sealed_by(peer, backend, plain)), "derive",
				caller, true))
			assert.equal("a/b", request:path())
			assert.is_true(backend:has_channel(service, peer.point))
			local body, signature = assert(backend:execute(service, request, caller, 1000))
			assert.equal(backend.address,
				crypto.recover(("NovaKMS:Response:%s:%s"):format(SIGNATURE, backend.address), signature))
			local inner = cjson.decode(opened_by(peer, backend, body))
			assert.equal("a/b", inner.path)
			assert.equal(SIGNATURE, inner.pop)
			assert.equal(32, #crypto.unbase64(inner.key))
		end)

		test("writes, reads, lists and deletes", function()
			local value = crypto.base64(crypto.random(100000))
			local function carry_out(kind, inner, key)
				local caller = caller_of(peer)
				local head = inner and http_head(sealed_by(peer, backend, cjson.encode(inner)))
				local request = assert(head and backend:open_request(service, head, kind, caller, false)
					or service:request(kind, key))
				local body, signature, code = backend:execute(service, request, caller, 2000)
				if not body then return nil, code end
				assert.equal(132, #signature)
				return cjson.decode(opened_by(peer, backend, body))
			end
			assert.equal("k", carry_out("put", { key = "k", value = value }).key)
			assert.equal(value, carry_out("get", nil, "k").value)
			assert.same({ "k" }, carry_out("list").keys)
			assert.is_true(carry_out("delete", { key = "k" }).deleted)
			assert.same({ nil, "ERR_NOT_FOUND" }, { carry_out("get", nil, "k") })
		end)

		test("does not sign for who named a wallet without proof", function()
			local caller = caller_of(peer)
			caller.signature = ""
			local request = assert(backend:open_request(service, http_head(sealed_by(peer, backend, '{"path":"a"}')),
				"derive", caller, false))
			local body, signature = assert(backend:execute(service, request, caller, 1000))
			assert.is_string(body)
			assert.is_nil(signature)
		end)

		test("refuses what is no request of this exchange", function()
			local function refusal(text, pop_required)
				local request, _, code = backend:open_request(service, http_head(text), "derive", caller_of(peer), pop_required)
				assert.is_nil(request)
				return code
			end
			assert.equal("ERR_ENVELOPE", refusal("{}"))
			assert.equal("ERR_JSON", refusal("{"))
			assert.equal("ERR_SENDER_KEY", refusal(sealed_by(stranger, backend, '{"path":"a"}')))
			assert.equal("ERR_FIELD_MISSING", refusal(sealed_by(peer, backend, "{}")))
			assert.equal("ERR_APP_ID_IN_REQUEST", refusal(sealed_by(peer, backend, '{"path":"a","app_id":7}')))
			assert.equal("ERR_OPERATION", refusal(sealed_by(peer, backend, '{"op":"put","path":"a"}')))
			assert.equal("ERR_FIELD_UNKNOWN", refusal(sealed_by(peer, backend, '{"lenght":64,"path":"a","strict":true}')))
			assert.equal("ERR_POP_BINDING", refusal(sealed_by(peer, backend, '{"path":"a"}'), true))
			assert.equal("ERR_POP_BINDING", refusal(sealed_by(peer, backend, '{"path":"a","pop":"0x00"}')))
			local envelope = crypto.seal(crypto.channel_key(peer.scalar, backend.point), peer.der, '{"path":"a"}')
			envelope.encrypted_data = envelope.encrypted_data:gsub("^.", "g")
			assert.equal("ERR_HEX", refusal(cjson.encode(envelope)))
		end)
	end)
end

local sim_dir, odyn

contract("sim", function()
	sim_dir = files.temp_dir()
	return open_sim(sim_dir)
end, function() files.remove_dir(sim_dir) end)

-- spec/run preloads the fake device; without it this is no enclave.
if (os.getenv("LD_PRELOAD") or ""):find("nsm_fake", 1, true) then
	contract("nitro", function()
		return tee.open({ config = { TEE = "nitro" }, log = silent, channels = channels })
	end, function() end)
end

contract("odyn", function()
	odyn = odyn_process.start()
	return tee.open({ config = { TEE = "odyn", ODYN_URL = odyn.url }, log = silent, channels = channels })
end, function() odyn:stop() end)

describe("tee odyn", function()
	it("blames the sender of an envelope only for what the service says of it", function()
		local process = odyn_process.start()
		local backend = loop.complete(function()
			local opened = tee.open({ config = { TEE = "odyn", ODYN_URL = process.url }, log = silent, channels = channels })
			assert(opened:identify())
			return opened
		end)
		process:stop()
		for status, wanted in pairs({
			[400] = "ERR_DECRYPT", [422] = "ERR_DECRYPT", [404] = "ERR_TEE", [413] = "ERR_TEE", [429] = "ERR_TEE",
		}) do
			function backend.calls.call() return nil, "Odyn: HTTP status " .. status, "ERR_TEE", status end
			local _, _, code = loop.complete(function()
				local envelope = assert(native.envelope(public_body(sealed_by(peer, backend, "{}")), peer.point))
				return backend:open(envelope, peer.point, "wiped")
			end)
			assert.equal(wanted, code, status)
		end
	end)
end)
