--- The replies to peers' requests (docs/protocol.md section 9): what is done for each type of message, and the
-- inner text that goes back.

local native = require("kms_native")
local needs = require("kms.base.needs")
local page_slots = require("kms.sync.page_slots")
local rate_limit = require("kms.base.rate_limit")
local record_counts = require("kms.sync.record_counts")
local tree = require("kms.sync.tree")

local M = {}

local Replies = {}
Replies.__index = Replies

local SNAPSHOTS_AT_ONCE = 2 -- each can be MAX_SNAPSHOT_BYTES, beside the bodies in flight
local PAGES_AT_ONCE = 4
local PAGE_BYTES = 2 << 20 -- of the records in a page; one record may be longer
local SECRETS_PER_MINUTE = 6 -- of a peer
local ANSWER_BYTES = 1 << 20 -- of the records in one answer to a digest
local SECRET_PEERS = 4096 -- whose requests are counted

local function refuse(code, message)
	return nil, message, code
end

-- Merges the records of a message. Returns counts | nil, message, code.
local function merge(self, opened, exchange)
	local peer = exchange.peer
	local checked, asked = self.new_apps:of_delta(opened, peer.wallet), self.gateway:accept(opened, peer)
	if checked or asked then
		local ok, message, code = exchange.stands()
		if not ok then return nil, message, code end
	end
	if self.peers:understands(peer, "fingerprint") then opened:set_settles() end
	local counts, message, code = opened:apply(self.store, exchange.secret, peer.number, self.wall_ms())
	if not counts then return nil, message, code end
	record_counts.add(self.counts.records, counts)
	if counts.poisoned > 0 then
		self.peers:report(peer, "poisoned_records", "records that do not decrypt: " .. counts.poisoned)
	end
	local bad = counts.rejected - counts.later - counts.poisoned - counts.refused
	if bad > 0 then self.peers:record(peer, "rejected_records", "records that are not acceptable: " .. bad) end
	-- An existing node does not send again what this node could not take.
	if counts.later > 0 and not self.peers:understands(peer, "store") then
		self.existing:fetch_later(peer, exchange.secret)
	end
	return counts
end

-- Whether a delta is the short one of kms.sync.contact. Existing nodes name no store.
local function is_contact(opened, counts)
	return counts.total == 0 and opened:text("store") ~= nil and next(opened:features()) == nil
end

-- Merges the records of a message.
local function delta(self, opened, exchange)
	local counts, message, code = merge(self, opened, exchange)
	if not counts then return nil, message, code end
	if is_contact(opened, counts) then return native.text_body(self.writer:contact_reply(exchange.proof)) end
	return native.text_body(self.writer:delta_reply(exchange.proof, counts))
end

-- A node that was away may hold what the others have deleted: it gives nothing until it knows (kms.node.absence).
local function refuse_absent(self)
	if self.absence.before_ms then return refuse("ERR_NOT_READY", "this node was away and joins anew") end
	return true
end

-- Answers a question about the hash tree, after merging what came with it.
local function digest(self, opened, exchange)
	local counts
	local ok, message, code = refuse_absent(self)
	if not ok then return nil, message, code end
	if opened:flag("data") then
		counts, message, code = merge(self, opened, exchange)
		if not counts then return nil, message, code end
	end
	local question = opened:text("digest")
	if not question then return refuse("ERR_FIELD_MISSING", "digest: a required field is missing") end
	ok, message, code = tree.prepare(self.store, exchange.secret)
	if not ok then return nil, message, code end
	return tree.given(self.store:digest_answer(question, {
		rest = self.writer:digest_reply(exchange.proof, counts), max_bytes = ANSWER_BYTES, now = self.wall_ms(),
		base64 = exchange.is_sealed,
	}))
end

-- Gives every record. A snapshot takes memory until it is sent or dropped, and a peer may read slowly: at
-- most one for each peer, SNAPSHOTS_AT_ONCE in all. In its envelope, in hexadecimal, it is twice as long.
local function whole_snapshot(self, opened, exchange)
	exchange.slot = self.snapshots:take(exchange.peer.wallet)
	if not exchange.slot then return refuse("ERR_BUSY", "too many snapshots at once") end
	local prefix, suffix = self.writer:snapshot_reply(exchange.proof, self.readiness:is_complete())
	local theirs = opened:features()
	return self.store:snapshot({
		prefix = prefix, suffix = suffix, max_bytes = self.config.MAX_SNAPSHOT_BYTES // 2,
		stubs = theirs.stub == true, fingerprints = theirs.fingerprint == true, base64 = exchange.is_sealed,
	})
end

-- Gives the records whose last change is after number `since`, as many as fit.
local function page(self, opened, exchange, since)
	exchange.slot = self.pages:take(exchange.peer.wallet)
	if not exchange.slot then return refuse("ERR_BUSY", "too many pages at once") end
	-- Read before the page is chosen: a store that is complete now holds in its changes up to then what it should.
	local prefix, suffix = self.writer:snapshot_reply(exchange.proof, self.readiness:is_complete())
	local max_bytes = math.max(1, math.min(opened:number("max_bytes") or PAGE_BYTES, PAGE_BYTES))
	return self.store:page({
		since = since, max_bytes = max_bytes, stubs = opened:features().stub == true,
		fingerprints = opened:features().fingerprint == true, base64 = exchange.is_sealed, prefix = prefix, suffix = suffix,
	})
end

local function snapshot_request(self, opened, exchange)
	local since = opened:number("since")
	if not since or since <= self.store:sequence() then
		local ok, message, code = refuse_absent(self)
		if not ok then return nil, message, code end
	end
	if since then return page(self, opened, exchange, since) end
	return whole_snapshot(self, opened, exchange)
end

-- Whether the chain as of now and the operator let the peer have the secret. Both checks yield, so what
-- the headers were checked for is checked again at the end.
-- Returns true | nil, message, code, seconds to wait.
local function may_have_secret(self, opened, exchange, pubkey)
	local peer = exchange.peer
	local instance, message = self.peers:fresh(peer.wallet)
	if message then return refuse("ERR_CHAIN", "the registry cannot be reached") end
	if not instance or native.peer_point(instance.tee_pubkey) ~= peer.point then
		return refuse("ERR_FORBIDDEN", "not a KMS peer")
	end
	local attestation, code
	attestation, message, code = self.evidence:check(opened:text("attestation"), exchange, instance, pubkey)
	if code then return refuse(code, message) end
	local ok, wait_s
	ok, message, code, wait_s = self.gateway:release_secret(peer, instance, attestation)
	if not ok then return nil, message, code, wait_s end
	return exchange.stands()
end

-- Whether the sender of a request in version 1 is to ask in a session: both sides have them. Its request says so, and
-- nobody on the way can change that.
local function belongs_in_session(self, opened, exchange)
	return not exchange.is_sealed and opened:features().session == true and self.has_sessions()
end

-- Gives the master secret, sealed.
local function master_secret_request(self, opened, exchange)
	local peer = exchange.peer
	if belongs_in_session(self, opened, exchange) then
		return native.text_body(self.writer:secret_in_session(exchange.proof))
	end
	local pubkey = opened:text("ecdh_pubkey")
	if not pubkey then return refuse("ERR_FIELD_MISSING", "ecdh_pubkey: a required field is missing") end
	-- Before the rate: a peer that sends a malformed key by mistake can correct it at once.
	local point, malformed, malformed_code = native.peer_point(native.hex_decode(pubkey) or "")
	if not point then return refuse(malformed_code, "ecdh_pubkey: " .. malformed) end
	if not self.secret_limiter:take(peer.wallet:sub(11), self.mono_ms()) then
		return refuse("ERR_RATE", "too many requests for the secret")
	end
	local ok, message, code, wait_s = may_have_secret(self, opened, exchange, pubkey)
	if not ok then return nil, message, code, wait_s end
	local sealed
	sealed, message, code = native.master_seal(exchange.secret, pubkey)
	if not sealed then return nil, message, code end
	self.log:info("master secret handed to a peer", { peer = peer.wallet })
	self.audit:event("secret_handed", { peer = peer.wallet, attested = opened:text("attestation") ~= nil })
	return native.text_body(self.writer:secret_reply(exchange.proof, sealed))
end

local BY_TYPE = {
	delta = delta, digest = digest, snapshot_request = snapshot_request, master_secret_request = master_secret_request,
}

--- Whether messages have this type.
function M.is_type(kind)
	return BY_TYPE[kind] ~= nil
end

--- Does what a message asks for. Yields.
-- @param kind its type
-- @param opened the message (native.sync_parse), checked
-- @param exchange of kms.sync.serving
-- @return the inner text of the reply (body handle) | nil, message, code, seconds to wait
function Replies:reply(kind, opened, exchange)
	self.counts[kind] = self.counts[kind] + 1
	return BY_TYPE[kind](self, opened, exchange)
end

--- @param deps store, log, wall_ms, mono_ms; peers (kms.peers); writer (kms.sync.message); evidence
-- (kms.sync.evidence); gateway (kms.policy.gateway); readiness (is_complete); config (MAX_SNAPSHOT_BYTES);
-- new_apps (kms.sync.new_apps); existing (kms.sync.existing_nodes); absence
-- (kms.node.absence); audit (kms.audit); has_sessions (function -> whether this node has sessions with members;
-- default: it has not)
-- @return replies; its field `counts` holds the messages of each type since the start, and in `records` what
--   became of their records (kms.sync.record_counts)
function M.new(deps)
	local self = needs.take(deps,
		"store log wall_ms mono_ms peers writer evidence gateway readiness config new_apps existing absence audit",
		"has_sessions")
	self.has_sessions = self.has_sessions or function() return false end
	self.counts = { delta = 0, digest = 0, snapshot_request = 0, master_secret_request = 0, records = {} }
	self.snapshots = page_slots.new(SNAPSHOTS_AT_ONCE, self.mono_ms)
	self.pages = page_slots.new(PAGES_AT_ONCE, self.mono_ms)
	self.secret_limiter = rate_limit.per_minute(SECRETS_PER_MINUTE, SECRET_PEERS)
	return setmetatable(self, Replies)
end

return M
