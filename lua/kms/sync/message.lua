--- Writes the inner texts of POST /sync (docs/protocol.md section 9). For a message with records, this module
-- writes the text before and after the records, and C writes the records between; the other messages are small
-- and hold no secret.

local all_features = require("kms.peers.features")
local json = require("kms.base.json")

local M = {}

local Writer = {}
Writer.__index = Writer

local without_sessions = json.list({})
for _, name in ipairs(all_features) do
	if name ~= "session" then without_sessions[#without_sessions + 1] = name end
end

-- Adds what shows who wrote a message, and its store: in version 1 the signature in the exchange's headers, in a
-- session a MAC where the sync key is to be shown.
local function proven(self, proof, members)
	members.pop, members.mac, members.store = proof.pop, proof.mac, self.store
	return members
end

-- Adds the members that every long message of this version has.
local function common(self, proof, members)
	members.features = self.has_sessions() and all_features or without_sessions
	members.time = self.wall_ms()
	return proven(self, proof, members)
end

-- The same of a request. In a session, its sender is known.
local function request(self, proof, members)
	members.sender_wallet = proof.pop and self.tee.address or nil
	return common(self, proof, members)
end

-- The text before and after the value of the member "data". Canonical JSON sorts members by name: `first`
-- holds those before "data".
local function around_data(first, rest)
	return "{" .. first .. '"data":', "," .. json.encode(rest):sub(2)
end

--- A master_secret_request.
-- @param proof as kms.sync.exchange gives it: pop (the signature in the exchange's headers), or in a session mac
-- @param pubkey DER of an ephemeral P-384 key, in hex
-- @param attestation a document in base64, or nil
-- @return inner text
function Writer:secret_request(proof, pubkey, attestation)
	return json.encode(request(self, proof, {
		type = "master_secret_request", ecdh_pubkey = pubkey, attestation = attestation,
	}))
end

--- A snapshot_request.
-- @param proof as for secret_request
-- @return inner text
function Writer:snapshot_request(proof)
	return json.encode(request(self, proof, { type = "snapshot_request" }))
end

--- A snapshot_request for a page.
-- @param since number of the change after which the page starts; @param max_bytes of its records
-- @return inner text
function Writer:page_request(proof, since, max_bytes)
	return json.encode(request(self, proof, {
		type = "snapshot_request", since = since, max_bytes = max_bytes,
	}))
end

--- A delta.
-- @return text before its records, text after them
function Writer:delta(proof)
	return around_data("", request(self, proof, { type = "delta" }))
end

--- A delta without records for a node that has been told this node's features.
-- @return inner text
function Writer:contact(proof)
	return json.encode(proven(self, proof, { type = "delta", data = {} }))
end

--- The reply to it.
-- @return inner text
function Writer:contact_reply(proof)
	return json.encode(proven(self, proof, { status = "ok", time = self.wall_ms() }))
end

--- What follows the question in a digest. Without features: a node that speaks digests has announced them before.
-- @return end of the text
function Writer:digest(proof)
	return json.encode(proven(self, proof, { type = "digest" })):sub(2)
end

--- What follows the answer in the reply to a digest. In a session with this node's time, since a member that is asked
-- often enough is sent nothing else there (kms.sync.contact).
-- @param counts of the merge (native message:apply), or nil: the message had no records
-- @return end of the text
function Writer:digest_reply(proof, counts)
	counts = counts or {}
	return json.encode(proven(self, proof, {
		status = "ok", time = not proof.pop and self.wall_ms() or nil, merged = counts.merged, rejected = counts.rejected,
	})):sub(2)
end

--- The reply to a delta.
-- @param counts of the merge (native message:apply)
-- @return inner text
function Writer:delta_reply(proof, counts)
	return json.encode(common(self, proof, {
		status = "ok", total = counts.total, merged = counts.merged, skipped = counts.skipped,
		rejected = counts.rejected, later = counts.later, future = counts.future,
		skip_reasons = counts.skip_reasons,
	}))
end

--- The reply to a snapshot_request.
-- @param complete whether this node's store is complete
-- @return text before its records, text after them (for a page: after its numbers)
function Writer:snapshot_reply(proof, complete)
	return around_data(('"complete":%s,'):format(complete), common(self, proof, { status = "ok" }))
end

--- The reply to a master_secret_request.
-- @param sealed { ephemeral_pubkey, encrypted_data, nonce }, in hex
-- @return inner text
function Writer:secret_reply(proof, sealed)
	return json.encode(common(self, proof, { status = "ok", sealed = sealed }))
end

--- The reply to a master_secret_request in version 1 of a member that has sessions, as this node has: it is to ask in
-- one.
-- @return inner text
function Writer:secret_in_session(proof)
	return json.encode(common(self, proof, { status = "ok" }))
end

--- @param tee kms.tee: its address is this node's wallet
-- @param store 32 hex digits that name this node's store, new after each start
-- @param wall_ms the node's clock
-- @param has_sessions function -> whether this node has sessions with members; default: it has not
function M.writer(tee, store, wall_ms, has_sessions)
	has_sessions = has_sessions or function() return false end
	return setmetatable({ tee = tee, store = store, wall_ms = wall_ms, has_sessions = has_sessions }, Writer)
end

return M
