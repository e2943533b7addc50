--- One exchange about the hash tree with a peer (docs/protocol.md section 9.2): finds the versions that one of the
-- two lacks, and moves them. What the peer says bounds nothing: this module does, in calls and in time.
--
-- Digests do not show whether a value is there. So an exchange also asks for the values of stubs that other members
-- gave to this node: once of each peer, which may be the last one that has them.

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local page_size = require("kms.sync.page_size")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local Repair = {}
Repair.__index = Repair

local TIMEOUT_MS = 30000 -- of a call
local MAX_CALLS = 256
local MAX_MS = 60000 -- of an exchange; what is left is found again by a later one
-- Calls to a peer. With pushes between ticks they leave room in the peer's limit for this address
-- (RATE_LIMIT_PER_MINUTE, 120).
local PER_MINUTE = 40
local MAX_PEERS = 4096
local FRAME_BYTES = 65536 -- the most that a body holds besides its records

-- Codes that only an answer that no honest peer gives brings about.
local MALFORMED = { ERR_RECORD = true, ERR_FIELD_MISSING = true, ERR_BASE64 = true }

-- The number of the last change up to which the peer's present store was asked for the values of stubs.
local function sought_until(self, peer)
	local state = self.sought[peer]
	return state and state.store == peer.store and state.since or 0
end

local function max_bytes(self)
	return math.max(1, math.min(self.settings().max_bytes, self.max_body_bytes // 2 - FRAME_BYTES))
end

-- Waits until a call is allowed. Returns false when that is after the exchange's end.
local function wait_turn(self, peer, end_ms)
	while true do
		local now = self.mono_ms()
		local allowed, left_s = self.pace:take(tostring(peer.number), now)
		if allowed then return true end
		if now + left_s * 1000 >= end_ms then return false end
		loop.sleep(left_s * 1000)
	end
end

-- Merges the records of an answer. Returns how many were merged | nil, message, code.
local function merge(self, peer, response, secret)
	if not response:flag("data") then return 0 end
	self.accept(response, peer)
	if self.peers:understands(peer, "fingerprint") then response:set_settles() end
	local counts, message, code = response:apply(self.store, secret, peer.number, self.wall_ms())
	if not counts then return nil, message, code end
	return counts.merged
end

-- Takes an answer and its records. Returns the digest's state | nil, message, code.
local function take(self, peer, digest, response, found)
	local merged, message, code = merge(self, peer, response, found.secret)
	if not merged then return nil, message, code end
	found.merged, found.taken = found.merged + merged, found.taken + (response:counts().merged or 0)
	local state
	state, message, code = digest:take(response:text("digest"))
	if state then return state end
	if MALFORMED[code] then return nil, self.exchange:distrust(peer, "digest: " .. message, code) end
	return nil, message, code
end

-- Notes how long a call took. Only one with records says something about their number.
local function note_call(self, size, records, began_ms, failure)
	if records == 0 then return end
	local took_ms = self.mono_ms() - began_ms
	if failure then page_size.failed(size, took_ms, failure) else page_size.passed(size, took_ms) end
end

-- One question. Returns the digest's state | nil, message, code.
local function ask(self, peer, digest, found)
	local size = self.sizes[peer] or {}
	self.sizes[peer] = size
	local in_session = self.exchange:uses_session(peer)
	local records, message, code = digest:ask(page_size.limit(size, max_bytes(self)), self.wall_ms(), in_session)
	if not records then return nil, message, code end
	local response
	local began_ms = self.mono_ms()
	response, message, code = self.exchange:call(peer, function(proof)
		-- It is asked again in a later exchange.
		if (proof.base64 == true) ~= in_session then return nil, "the envelope has changed meanwhile", "ERR_NOTHING" end
		local body, failure, failure_code = digest:body(self.writer:digest(proof))
		if body and records > 0 then found.bytes = found.bytes + body:len() end
		return body, failure, failure_code
	end, { master = found.secret, timeout_ms = TIMEOUT_MS, max_bytes = self.max_body_bytes })
	note_call(self, size, records, began_ms, not response and (code or "ERR_HTTP"))
	if not response then return nil, message, code end
	return take(self, peer, digest, response, found)
end

local function run(self, peer, digest, found)
	local end_ms, state = self.mono_ms() + MAX_MS, "asking"
	for _ = 1, MAX_CALLS do
		if not wait_turn(self, peer, end_ms) or not self.is_ready() then break end
		local message, code
		state, message, code = ask(self, peer, digest, found)
		if not state then return nil, message, code end
		if state ~= "asking" or self.mono_ms() >= end_ms then break end
	end
	local counts = digest:counts()
	found.state, found.given, found.wanted, found.forgotten = state, counts.given, counts.wanted, counts.forgotten
	found.sought = counts.sought
	return found
end

--- Has one exchange with a peer that has the feature "digest". Yields.
-- @param forget_before time stamp or nil: what the peer lacks and is older is dropped here instead of being given
-- @return { state: "equal", "done" (all differences that were found have been moved), "asking" (ended before that) or
--   "other_key"; given, wanted: versions that the peer, or this node, lacked; forgotten: versions dropped here; merged:
--   how many records this node took; taken: how many the peer says that it took; bytes: of messages with records from
--   here; sought: stubs whose values the peer was asked for; seeks: whether a later exchange has to ask for more;
--   sequence: number of the newest change here when it began; store: the peer's, as known then } |
--   nil, message, code: ERR_STATE while the tree is being built, or as kms.sync.exchange
function Repair:run(peer, forget_before)
	local newest, store = self.store:sequence(), peer.store
	local digest, until_or_message, code = self.store:digest(self.wall_ms(), sought_until(self, peer), forget_before,
		self.peers:understands(peer, "brief"))
	if not digest then return nil, until_or_message, code end
	local found = { given = 0, wanted = 0, merged = 0, taken = 0, bytes = 0, secret = self.secret() }
	local ok, result, message
	ok, result, message, code = loop.try(run, self, peer, digest, found)
	digest:close()
	found.secret = nil
	if not ok then return nil, "broke down" end
	if result and (result.state == "equal" or result.state == "done") then
		self.sought[peer] = { store = store, since = until_or_message }
		result.seeks = until_or_message < newest
	end
	if result then result.sequence, result.store = newest, store end
	return result, message, code
end

--- @param deps exchange, writer, peers, store, mono_ms, wall_ms, secret, is_ready, accept, settings, max_body_bytes as
--   kms.sync.repair takes them
function M.new(deps)
	local self = needs.take(deps,
		"exchange writer peers store mono_ms wall_ms secret is_ready accept settings max_body_bytes")
	self.sizes = setmetatable({}, { __mode = "k" }) -- by peer: of the pages for it
	self.pace = rate_limit.per_minute(PER_MINUTE, MAX_PEERS)
	self.sought = setmetatable({}, { __mode = "k" }) -- by peer { store (its id), since (number of a change) }
	return setmetatable(self, Repair)
end

return M
