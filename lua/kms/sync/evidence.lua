--- Attestation documents in requests for the master secret (docs/protocol.md section 13): the one that this node
-- shows, and the check of those that peers show. A peer must be zkVerified on chain in any case.

local allow_list = require("kms.attest.allow_list")
local attest = require("kms.attest")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Evidence = {}
Evidence.__index = Evidence

-- Generous, since the peer's clock may differ: the nonce binds a document to its exchange.
local MAX_AGE_MS = 600000

--- Makes the document for a request of this node. Yields. A failure is logged: the request goes out without it.
-- @param recipient wallet of the peer
-- @param nonce X-KMS-Nonce of the exchange
-- @param pubkey DER of the ephemeral key, in hex
-- @return document in base64, or nil
function Evidence:make(recipient, nonce, pubkey)
	local user_data = attest.user_data(self.tee.address, "secret", self.policy_hash())
	local document, message, code = self.tee:attest(attest.secret_nonce(nonce, recipient, pubkey), user_data,
		self.tee.public_der)
	if document then return native.base64_encode(document) end
	self.log:limited("attest", 60, "warn", "no attestation to show with a request for the secret", {
		cause = message, code = code,
	})
	return nil
end

local function hex_of(pcrs)
	local hex = {}
	for index, bytes in pairs(pcrs) do hex[index] = native.hex_encode(bytes) end
	return hex
end

-- The facts of a verified document for sync.release_secret.
local function facts_of(facts, statement)
	return {
		pcrs = hex_of(facts.pcrs), policy = statement.policy, timestamp_ms = facts.timestamp_ms,
		module_id = facts.module_id, simulated = facts.chain[1].sha256 ~= native.attest_aws_root,
	}
end

local function verify(self, text, exchange, instance, pubkey)
	local document = native.base64_decode(text)
	if not document then return nil, "attestation: not canonical base64" end
	local facts, statement_or_message, _, failure = attest.verify_secret(document, {
		list = self.list, now_ms = self.wall_ms(), max_age_ms = MAX_AGE_MS, max_ahead_ms = self.skew_ms,
		nonce = attest.secret_nonce(exchange.nonce, self.tee.address, pubkey), public_key = instance.tee_pubkey,
		wallet = exchange.peer.wallet,
	})
	if facts then return facts_of(facts, statement_or_message) end
	return nil, ("attestation: %s%s"):format(failure and failure .. ": " or "", statement_or_message)
end

--- Checks the document in a peer's request for the secret. Yields.
-- @param text the request's `attestation`, or nil
-- @param exchange { peer, nonce }
-- @param instance the peer's registration, just read from the chain
-- @param pubkey the request's ecdh_pubkey
-- @return facts of the verified document | nil: none, and none is required | nil, message, "ERR_ATTEST"
function Evidence:check(text, exchange, instance, pubkey)
	local facts, message
	if text then facts, message = verify(self, text, exchange, instance, pubkey) end
	if facts then return facts end
	if self.required then return nil, message or "an attestation is required", "ERR_ATTEST" end
	if message then
		self.log:debug("a peer's attestation does not count", { peer = exchange.peer.wallet, cause = message })
	end
	return nil
end

--- The images that peers must show.
-- @param path  REQUIRE_PEER_ATTESTATION, or nil
-- @return list (kms.attest.allow_list) | nil, message
function M.load_list(path)
	if not path then return { roots = { native.attest_aws_root }, allow_debug = false } end
	local list, message = allow_list.load(path)
	if not list then return nil, "variable REQUIRE_PEER_ATTESTATION: " .. message end
	return list
end

--- @param deps config (REQUIRE_PEER_ATTESTATION: path of an allow list, or nil); tee; log; wall_ms; skew_ms
--   (MAX_CLOCK_SKEW_MS); policy_hash (function -> hash of the policies in force)
-- @return evidence | nil, message: the allow list cannot be read
function M.new(deps)
	local self = setmetatable(needs.take(deps, "config tee log wall_ms skew_ms policy_hash"), Evidence)
	self.required = self.config.REQUIRE_PEER_ATTESTATION ~= nil
	local list, message = M.load_list(self.config.REQUIRE_PEER_ATTESTATION)
	if not list then return nil, message end
	self.list = list
	return self
end

return M
