--- Attestation documents between nodes: a node's user_data, the nonce of a request for the master secret, and the check
-- of a peer's document. Documents are read, verified and made in C (include/kms/attest.h).

local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

local VERSION = 1

--- The user_data of a node's document.
-- @param wallet  canonical; @param purpose  "public" (GET /attestation) or "secret"
-- @param policy  SHA-256 of the operator's policies, 64 digits, or nil
-- @param recovery  { set (id of the custodians' set, 64 digits), key (age recipient that takes shares) or nil }, or nil
-- @return JSON text
function M.user_data(wallet, purpose, policy, recovery)
	return json.encode({ eth_addr = wallet, kms = {
		v = VERSION, purpose = purpose, policy = policy, recovery = recovery and recovery.set,
		recovery_key = recovery and recovery.key,
	} })
end

--- Reads user_data strictly: exactly these members, no name twice.
-- @return { wallet (canonical), purpose; policy, recovery (64 digits), recovery_key (age recipient), or nil each } |
--   nil, message, code
function M.read_user_data(text)
	return native.attest_statement(text)
end

--- The nonce of a document that goes with a request for the master secret (docs/protocol.md section 13). It binds
-- the document to this request.
-- @param nonce  X-KMS-Nonce as sent; @param recipient  canonical wallet; @param pubkey  the request's
--   ecdh_pubkey as sent, in hex
-- @return 32 bytes
function M.secret_nonce(nonce, recipient, pubkey)
	return native.sha256(("NovaKMS:SecretRequest:%s:%s:%s"):format(nonce, recipient, pubkey))
end

local function refuse(message)
	return nil, message, "ERR_ATTEST", "user_data"
end

--- Verifies the document that came with a request for the master secret. Yields.
-- @param document  bytes
-- @param want  list (kms.attest.allow_list), now_ms, max_age_ms, max_ahead_ms, nonce (32 bytes: secret_nonce),
--   public_key (DER of the registered teePubkey), wallet (canonical)
-- @return facts (include/kms/attest.h, as native.attest_verify gives them), statement (read_user_data) |
--   nil, message, code, name of the failure
function M.verify_secret(document, want)
	local facts, message, code, failure = native.attest_verify(document, {
		roots = want.list.roots, images = want.list.images, allow_debug = want.list.allow_debug, now_ms = want.now_ms,
		max_age_ms = want.max_age_ms, max_ahead_ms = want.max_ahead_ms, nonce = want.nonce, public_key = want.public_key,
	})
	if not facts then return nil, message, code, failure end
	local statement = facts.user_data and M.read_user_data(facts.user_data)
	if not statement then return refuse("user_data is not a node's") end
	if statement.wallet ~= want.wallet then return refuse("user_data names another wallet") end
	if statement.purpose ~= "secret" then return refuse("the document was not made for a request of the secret") end
	return facts, statement
end

return M
