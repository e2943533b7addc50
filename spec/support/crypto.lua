--- Cryptography of a test client, on made-up keys as Lua strings (spec/support/testkit.c).
--
-- OpenSSL takes its allocator once, before its first use, and the node's module leads it into
-- guarded memory: whichever spec of a process comes first, that module goes first here.

local build = os.getenv("KMS_BUILD") or "build"
package.cpath = ("./%s/?.so;./%s/spec/?.so;%s"):format(build, build, package.cpath)

local native = require("spec.support.native")
local kit = require("kms_testkit")

local M = {
	hex = kit.hex, unhex = kit.unhex, base64 = kit.base64, unbase64 = kit.unbase64,
	random = kit.random, keccak256 = kit.keccak256, hkdf = kit.hkdf, native = native,
	sha256 = kit.sha256, x25519 = kit.x25519, x25519_public = kit.x25519_public, aead_seal = kit.aead_seal,
	aead_open = kit.aead_open, starved = kit.starved,
}

-- SubjectPublicKeyInfo of a P-384 key up to its point (RFC 5480).
local SPKI_PREFIX = kit.unhex("3076301006072a8648ce3d020106052b8104002203620000"):sub(1, 23)

--- DER of a point.
function M.der(point)
	return SPKI_PREFIX .. point
end

--- An identity from its two private keys: wallet (32 bytes) and P-384 scalar (48 bytes).
function M.identity(wallet_key, scalar)
	local point = kit.p384_point(scalar)
	return {
		wallet_key = wallet_key, scalar = scalar, point = point, der = M.der(point),
		wallet = "0x" .. kit.hex(kit.address(wallet_key)),
	}
end

--- A made-up identity that is always the same for a name.
function M.made_up(name)
	local tail = kit.keccak256("p384 b " .. name):sub(1, 16)
	return M.identity(kit.keccak256("wallet " .. name), kit.keccak256("p384 a " .. name) .. tail)
end

--- The identity of a seed, as include/kms/keyfile.h describes it.
function M.seed_identity(seed)
	return M.identity(
		kit.hkdf(seed, "nova-kms:identity", "wallet", 32), kit.hkdf(seed, "nova-kms:identity", "p384", 48))
end

local function eip191(message)
	return kit.keccak256(("\25Ethereum Signed Message:\n%d"):format(#message) .. message)
end

--- EIP-191 signature as hex text.
-- @param form table, optional: v (what the recovery id is added to: 27 or 0), high_s, prefix ("0x")
function M.sign(wallet_key, message, form)
	form = form or {}
	local signature = kit.sign(wallet_key, eip191(message), form.high_s)
	local v = (form.v or 27) + signature:byte(65)
	return (form.prefix or "0x") .. kit.hex(signature:sub(1, 64) .. string.char(v))
end

--- Wallet that signed a message, or nil. Only what a node produces is accepted: 0x, v 27 or 28.
function M.recover(message, text)
	local bytes = text and text:match("^0x%x+$") and kit.unhex(text:sub(3))
	if not bytes or #bytes ~= 65 then return nil end
	local v = bytes:byte(65)
	if v ~= 27 and v ~= 28 then return nil end
	local address = kit.recover(eip191(message), bytes:sub(1, 64) .. string.char(v - 27))
	return address and "0x" .. kit.hex(address)
end

--- AES key between a private scalar and a peer's point.
function M.channel_key(scalar, peer_point)
	return kit.hkdf(kit.ecdh(scalar, peer_point), "", "encryption data", 32)
end

--- Envelope of a plaintext as a table of hex texts.
-- @param nonce bytes, optional: 12 or more
function M.seal(key, sender_der, plain, nonce)
	nonce = nonce or kit.random(32)
	return {
		sender_tee_pubkey = kit.hex(sender_der), nonce = kit.hex(nonce),
		encrypted_data = kit.hex(kit.gcm_seal(key, nonce:sub(1, 12), plain)),
	}
end

--- Plaintext of an envelope (table of hex texts), or nil.
function M.open(key, envelope)
	local nonce, sealed = kit.unhex(envelope.nonce), kit.unhex(envelope.encrypted_data)
	if not nonce or #nonce < 12 or not sealed then return nil end
	return kit.gcm_open(key, nonce:sub(1, 12), sealed)
end

--- HMAC-SHA256 in hex.
function M.hmac(key, text)
	return kit.hex(kit.hmac(key, text))
end

--- The master secret of a sealed answer (table of hex texts) under the requester's scalar, or nil.
function M.unseal(scalar, sealed)
	local point = kit.unhex(sealed.ephemeral_pubkey):sub(-97)
	local key = kit.hkdf(kit.ecdh(scalar, point), "nova-kms:sealed-master-secret", "aes-gcm-key", 32)
	return kit.gcm_open(key, kit.unhex(sealed.nonce), kit.unhex(sealed.encrypted_data))
end

--- Seals a master secret to a requester's key (hex DER), as a table of hex texts.
function M.seal_secret(secret, pubkey)
	local own = M.made_up("ephemeral of a giver")
	local key = kit.hkdf(kit.ecdh(own.scalar, kit.unhex(pubkey):sub(-97)), "nova-kms:sealed-master-secret",
		"aes-gcm-key", 32)
	local iv = kit.random(12)
	return {
		ephemeral_pubkey = kit.hex(own.der), nonce = kit.hex(iv), encrypted_data = kit.hex(kit.gcm_seal(key, iv, secret)),
	}
end

--- Ciphertext of a record of an application's.
function M.record(master, app_id, value)
	local iv = kit.random(12)
	return iv .. kit.gcm_seal(M.derive(master, app_id, "data_key"), iv, value)
end

--- Key of docs/protocol.md section 7.
function M.derive(master, app_id, path, context, length)
	local info = (context and context ~= "") and path .. ":" .. context or path
	return kit.hkdf(master, "nova-kms:app:" .. app_id, info, length or 32)
end

return M
