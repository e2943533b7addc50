--- Inner texts of POST /sync (docs/protocol.md section 9). The records of deltas and snapshots are
-- written by C between the two halves that are made here; all else is small and holds no secret.

local features = require("kms.peers.features")
local json = require("kms.base.json")

local M = {}

local Writer = {}
Writer.__index = Writer

-- What every message of ours carries.
local function common(self, pop, members)
	members.features, members.pop, members.store = features, pop, self.store
	return members
end

-- The halves around a member "data", which stands first, or behind `first` (canonical JSON: every
-- other member's name comes after it).
local function halves(first, rest)
	return "{" .. first .. '"data":', "," .. json.encode(rest):sub(2)
end

--- A master_secret_request.
-- @param pop signature text of the exchange; @param pubkey hex DER of an ephemeral P-384 key;
-- @param attestation a document in base64, or nil
function Writer:secret_request(pop, pubkey, attestation)
	return json.encode(common(self, pop, {
		type = "master_secret_request", sender_wallet = self.wallet, ecdh_pubkey = pubkey, attestation = attestation,
	}))
end

--- A snapshot_request.
function Writer:snapshot_request(pop)
	return json.encode(common(self, pop, { type = "snapshot_request", sender_wallet = self.wallet }))
end

--- A delta: what stands before and behind its records.
function Writer:delta(pop)
	return halves("", common(self, pop, { type = "delta", sender_wallet = self.wallet }))
end

--- The answer to a delta.
-- @param counts of message:apply
function Writer:delta_answer(pop, counts)
	return json.encode(common(self, pop, {
		status = "ok", total = counts.total, merged = counts.merged, skipped = counts.skipped,
		rejected = counts.rejected, future = counts.future, skip_reasons = counts.skip_reasons,
	}))
end

--- A snapshot: what stands before and behind its records.
-- @param complete whether this node's store is
function Writer:snapshot_answer(pop, complete)
	return halves(('"complete":%s,'):format(complete), common(self, pop, { status = "ok" }))
end

--- The answer to a master_secret_request.
-- @param sealed ephemeral_pubkey, encrypted_data, nonce (hex)
function Writer:secret_answer(pop, sealed)
	return json.encode(common(self, pop, { status = "ok", sealed = sealed }))
end

--- @param wallet this node's; @param store 32 hex digits that name its store
function M.writer(wallet, store)
	return setmetatable({ wallet = wallet, store = store }, Writer)
end

return M
