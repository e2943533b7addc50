--- An Odyn service of this process for the specs of kms.tee.odyn: it works, or responds as a spec wants.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local odyn = require("kms.tee.odyn")

local M = {}

--- Keys of a peer, and of the service; a body that the service decrypts to PLAIN.
M.peer, M.own = crypto.made_up("a peer"), crypto.made_up("a service")
M.PLAIN = '{"path":"a/b"}'

-- The responses of a service that works.
local GOOD = {
	["/v1/eth/address"] = function() return { address = M.own.wallet, public_key = "0x04" } end,
	["/v1/encryption/public_key"] = function() return { public_key_der = "0x" .. crypto.hex(M.own.der) } end,
	["/v1/random"] = function() return { random_bytes = "0x" .. ("ab"):rep(32) } end,
	["/v1/eth/sign"] = function(body)
		return { signature = crypto.sign(M.own.wallet_key, body.message, { v = 0 }), address = M.own.wallet }
	end,
	["/v1/eth/sign-tx"] = function()
		local raw = "\2\193\128"
		return {
			raw_transaction = "0x" .. crypto.hex(raw), transaction_hash = "0x" .. crypto.hex(crypto.keccak256(raw)),
			address = M.own.wallet,
		}
	end,
	["/v1/encryption/decrypt"] = function() return { plaintext = M.PLAIN } end,
	["/v1/encryption/encrypt"] = function(body)
		local client = crypto.unhex(body.client_public_key:sub(3)):sub(-97)
		local sealed = crypto.seal(crypto.channel_key(M.own.scalar, client), M.own.der, body.plaintext)
		return {
			encrypted_data = sealed.encrypted_data, enclave_public_key = sealed.sender_tee_pubkey, nonce = sealed.nonce,
		}
	end,
}

--- Starts a service.
-- @param answers by path, what it does instead of its good response: bytes, a function(good response) -> table, or a
--   function(nil, client) that does something to the connection
-- @return server of spec.support.loopback
function M.start(answers, port)
	return loopback.serve(function(client, bytes)
		if not loopback.length_of(bytes) then return false end
		local head, rest = bytes:match("^(.-\r\n\r\n)(.*)$")
		local path = head:match("^%u+ (%S+)")
		local body = rest ~= "" and cjson.decode(rest) or nil
		local answer = answers[path]
		if type(answer) == "string" then
			client:write(answer)
		elseif answer and debug.getinfo(answer, "u").nparams == 2 then
			answer(nil, client)
		else
			local good = GOOD[path](body)
			client:write(loopback.reply(cjson.encode(answer and answer(good) or good)))
		end
		return true
	end, port)
end

--- A native service for a backend without keys of its own.
function M.native_service(backend)
	local service = native.service({
		self = backend.address, nonces = native.nonces(120), channels = native.channels(16),
		store = native.store({ self = backend.address }),
	})
	service:set_master(native.secret_random(32))
	return service
end

--- The text of an envelope from the peer to the service.
function M.envelope_text(plain)
	return cjson.encode(crypto.seal(crypto.channel_key(M.peer.scalar, M.own.point), M.peer.der, plain or M.PLAIN))
end

--- The backend on a service as M.start makes it.
-- @return backend, server
function M.open(answers, log)
	local server = M.start(answers)
	local backend = assert(odyn.open({ config = { ODYN_URL = server.url }, log = log }))
	assert(backend:identify())
	return backend, server
end

return M
