--- Writes the inner texts of POST /sync (docs/protocol.md section 9). For a message with records, this module
-- writes the text before and after the records, and C writes the records between; the other messages are small
-- and hold no secret.

local features = require("kms.peers.features")
local json = require("kms.base.json")

local M = {}

local Writer = {}
Writer.__index = Writer

-- Adds the members that every message of this version has.
local function common(self, pop, members)
	members.features, members.pop, members.store = features, pop, self.store
	members.time = self.wall_ms()
	return members
end

-- The text before and after the value of the member "data". Canonical JSON sorts members by name: `first`
-- holds those before "data".
local function around_data(first, rest)
	return "{" .. first .. '"data":', "," .. json.encode(rest):sub(2)
end

--- A master_secret_request.
-- @param pop the signature in the exchange's headers
-- @param pubkey DER of an ephemeral P-384 key, in hex
-- @param attestation a document in base64, or nil
-- @return inner text
function Writer:secret_request(pop, pubkey, attestation)
	return json.encode(common(self, pop, {
		type = "master_secret_request", sender_wallet = self.tee.address, ecdh_pubkey = pubkey, attestation = attestation,
	}))
end

--- A snapshot_request.
-- @param pop as for secret_request
-- @return inner text
function Writer:snapshot_request(pop)
	return json.encode(common(self, pop, { type = "snapshot_request", sender_wallet = self.tee.address }))
end

--- A snapshot_request for a page.
-- @param since number of the change after which the page starts; @param max_bytes of its records
-- @return inner text
function Writer:page_request(pop, since, max_bytes)
	return json.encode(common(self, pop, {
		type = "snapshot_request", sender_wallet = self.tee.address, since = since, max_bytes = max_bytes,
	}))
end

--- A delta.
-- @return text before its records, text after them
function Writer:delta(pop)
	return around_data("", common(self, pop, { type = "delta", sender_wallet = self.tee.address }))
end

--- A delta without records for a node that has been told this node's features.
-- @return inner text
function Writer:contact(pop)
	return json.encode({ type = "delta", data = {}, pop = pop, store = self.store })
end

--- The reply to it.
-- @return inner text
function Writer:contact_reply(pop)
	return json.encode({ status = "ok", pop = pop, store = self.store, time = self.wall_ms() })
end

--- What follows the question in a digest. Without features: a node that speaks digests has announced them before.
-- @return end of the text
function Writer:digest(pop)
	return json.encode({ pop = pop, store = self.store, type = "digest" }):sub(2)
end

--- What follows the answer in the reply to a digest.
-- @param counts of the merge (native message:apply), or nil: the message had no records
-- @return end of the text
function Writer:digest_reply(pop, counts)
	counts = counts or {}
	return json.encode({
		pop = pop, store = self.store, status = "ok", merged = counts.merged, rejected = counts.rejected,
	}):sub(2)
end

--- The reply to a delta.
-- @param counts of the merge (native message:apply)
-- @return inner text
function Writer:delta_reply(pop, counts)
	return json.encode(common(self, pop, {
		status = "ok", total = counts.total, merged = counts.merged, skipped = counts.skipped,
		rejected = counts.rejected, later = counts.later, future = counts.future,
		skip_reasons = counts.skip_reasons,
	}))
end

--- The reply to a snapshot_request.
-- @param complete whether this node's store is complete
-- @return text before its records, text after them (for a page: after its numbers)
function Writer:snapshot_reply(pop, complete)
	return around_data(('"complete":%s,'):format(complete), common(self, pop, { status = "ok" }))
end

--- The reply to a master_secret_request.
-- @param sealed { ephemeral_pubkey, encrypted_data, nonce }, in hex
-- @return inner text
function Writer:secret_reply(pop, sealed)
	return json.encode(common(self, pop, { status = "ok", sealed = sealed }))
end

--- @param tee kms.tee: its address is this node's wallet
-- @param store 32 hex digits that name this node's store, new after each start
-- @param wall_ms the node's clock
function M.writer(tee, store, wall_ms)
	return setmetatable({ tee = tee, store = store, wall_ms = wall_ms }, Writer)
end

return M
