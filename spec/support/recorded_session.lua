--- What whoever recorded a session can try with long-term keys that leaked later (docs/protocol.md section 15.4).

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local kit = require("kms_testkit")

local M = {}

--- The plaintext of a recorded request under keys from this input, or nil.
function M.try(recorded, ikm, salt)
	local key = kit.hkdf(ikm, salt, "nova-kms session c2s", 32)
	local sid, seq = recorded:sub(1, 16), recorded:sub(17, 24)
	return crypto.aead_open(key, "\0\0\0\0" .. seq, "nova-kms" .. sid .. seq, recorded:sub(25))
end

--- What the envelopes of an opening hold for whoever has both P-384 keys.
-- @param session of spec.support.session_client; @param own, other identities of node and caller
-- @return offer, grant (tables), the channel's key, the secret that it comes from
function M.envelopes(session, own, other)
	local shared = kit.ecdh(own.scalar, other.point)
	if shared ~= kit.ecdh(other.scalar, own.point) then error("these are not the keys of one channel", 2) end
	local channel = kit.hkdf(shared, "", "encryption data", 32)
	local offer = cjson.decode(crypto.open(channel, cjson.decode(session.opening.sent.body)))
	return offer, cjson.decode(crypto.open(channel, cjson.decode(session.opening.answer))), channel, shared
end

--- Tries all that both identities' keys give, and more secrets, as what a session's keys could come from.
-- @param recorded a request of it; @param more list of further secrets
-- @return the plaintext, or nil: it stays closed
function M.attack(recorded, session, own, other, more)
	local offer, grant, channel, shared = M.envelopes(session, own, other)
	local known = {
		shared, channel, own.scalar, other.scalar, own.scalar:sub(1, 32), own.scalar:sub(-32), other.wallet_key,
		own.wallet_key, crypto.unhex(offer.e), crypto.unhex(grant.e), session.sid, table.unpack(more or {}),
	}
	-- As scalars of X25519, too.
	for i = 1, #known do
		local scalar = #known[i] == 32 and known[i]
		for _, e in ipairs({ offer.e, grant.e }) do
			known[#known + 1] = scalar and crypto.x25519(scalar, crypto.unhex(e)) or nil
		end
	end
	for _, ikm in ipairs(known) do
		for _, salt in ipairs({ session.opening.salt, "", ("\0"):rep(32) }) do
			local plain = M.try(recorded, ikm, salt)
			if plain then return plain end
		end
	end
	return nil
end

--- The plaintext with what both sides have erased: shows that an attack is sound.
function M.with_erased(recorded, session, own, other)
	local _, grant = M.envelopes(session, own, other)
	return M.try(recorded, crypto.x25519(session.opening.sent.scalar, crypto.unhex(grant.e)), session.opening.salt)
end

return M
