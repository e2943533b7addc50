--- Attestation with a request for the master secret (docs/protocol.md section 13): what this node shows, and what it
-- demands of others. The chain's zkVerified is the authority; this comes on top of it.

local attest = require("kms.attest")
local native = require("kms_native")

local M = {}

local Evidence = {}
Evidence.__index = Evidence

-- The nonce makes a document one of this exchange; its own time may be that of another clock.
local MAX_AGE_MS = 600000

--- The document that goes with a request of this node, or nil where there is none to show. Yields.
-- @param recipient wallet of the peer; @param nonce X-KMS-Nonce of the exchange; @param pubkey hex
--   of the ephemeral key
-- @return base64
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

local function digits_of(pcrs)
	local digits = {}
	for index, bytes in pairs(pcrs) do digits[index] = native.hex_encode(bytes) end
	return digits
end

-- What a policy sees of a verified document.
local function facts_of(facts, statement)
	return {
		pcrs = digits_of(facts.pcrs), policy = statement.policy, timestamp_ms = facts.timestamp_ms,
		module_id = facts.module_id, simulated = facts.chain[1].sha256 ~= native.attest_aws_root,
	}
end

local function verify(self, text, exchange, instance, pubkey)
	local document = native.base64_decode(text)
	if not document then return nil, "attestation: not canonical base64" end
	local facts, statement, _, failure = attest.verify_secret(document, {
		list = self.list, now_ms = self.wall_ms(), max_age_ms = MAX_AGE_MS, max_ahead_ms = self.skew_ms,
		nonce = attest.secret_nonce(exchange.nonce, self.tee.address, pubkey), public_key = instance.tee_pubkey,
		wallet = exchange.peer.wallet,
	})
	if facts then return facts_of(facts, statement) end
	return nil, ("attestation: %s%s"):format(failure and failure .. ": " or "", statement)
end

--- Looks at what came with a request for the secret. Yields.
-- @param text the request's `attestation`, or nil; @param exchange peer, nonce; @param instance what
--   the chain says of the peer now; @param pubkey the request's ecdh_pubkey
-- @return verified facts, or nil where there are none and none are demanded | nil, message, code
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

--- @param deps config (REQUIRE_PEER_ATTESTATION), tee, log, wall_ms, skew_ms, policy_hash (function)
-- @return evidence | nil, message
function M.new(deps)
	local path = deps.config.REQUIRE_PEER_ATTESTATION
	local self = setmetatable({
		tee = deps.tee, log = deps.log, wall_ms = deps.wall_ms, skew_ms = deps.skew_ms, policy_hash = deps.policy_hash,
		required = path ~= nil, list = { roots = { native.attest_aws_root }, allow_debug = false },
	}, Evidence)
	if not path then return self end
	local list, message = attest.load_allow_list(path)
	if not list then return nil, "variable REQUIRE_PEER_ATTESTATION: " .. message end
	self.list = list
	return self
end

return M
