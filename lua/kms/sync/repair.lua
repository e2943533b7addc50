--- Repair: every sync interval this node compares what it holds with another member, in turn, and the two exchange the
-- versions that they do not share (docs/protocol.md section 9.2). What pushes did not bring, since a node restarted,
-- was away or full, comes this way.
--
-- A member that held the same when nothing had changed here since is only asked where an answer of it is due anyway
-- (kms.sync.contact): if something has changed there, it asks. Its calls may not get through, and its answers may
-- always be due when this node only contacts: so it is asked after SAME_INTERVALS at the latest.

local contact = require("kms.sync.contact")
local key_slots = require("kms.async.key_slots")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local repair_exchange = require("kms.sync.repair_exchange")
local tree = require("kms.sync.tree")

local M = {}

local Repair = {}
Repair.__index = Repair

local AT_ONCE = 4 -- exchanges; a peer that hangs delays no other
local MAX_SKIP = 16 -- turns that a peer misses with which exchanges lead nowhere
local SAME_INTERVALS = 60 -- after which a member that held the same is asked, whether or not an answer is due
local SECOND_MS = 1000

-- What is known of repair with a peer, dropped together with the peer:
--   since_ms   wall time since when the peer is known
--   equal_ms   wall time of the last exchange that found no difference
--   same       of the last exchange that did not fail, if it found no difference and there is nothing left to ask for:
--              { sequence (number of the newest change here when it began), store (of the peer), until_ms (monotonic
--              time until which that counts) }; else nil
--   result     how the last one ended, for the operator
--   given, wanted, bytes  since the start
--   barren     exchanges in a row with differences of which this node took none
--   turn       number of its last turn; below 0 before the first, in random order
--   skip       turns to miss
local function state_of(self, peer)
	local state = self.states[peer]
	if not state then
		state = {
			given = 0, wanted = 0, bytes = 0, barren = 0, skip = 0, turn = math.random() - 1, result = "none",
			since_ms = self.wall_ms(),
		}
		self.states[peer] = state
	end
	return state
end

-- Whether the two held the same not too long ago, and nothing has changed here since.
local function is_same(self, peer, state, now)
	local same = state.same
	if not same or now >= same.until_ms then return false end
	return same.sequence == self.store:sequence() and same.store == peer.store
end

-- What `state.same` is after an exchange without a difference.
local function same_of(self, found)
	if found.seeks then return nil end
	local until_ms = self.mono_ms() + SAME_INTERVALS * SECOND_MS * self.settings().interval
	return { sequence = found.sequence, store = found.store, until_ms = until_ms }
end

local function is_askable(self, peer, state, now)
	if not (self.peers:callable(peer, now) and now >= peer.retry_ms and self.peers:understands(peer, "digest")) then
		return false
	end
	return not is_same(self, peer, state, now) or contact.is_due(self.exchange, peer, self.settings().interval, now)
end

-- The peers that may be asked now, in turn: who has waited longest comes first. Of several that hold the same and are
-- due together only one is asked, and the others get a contact: so each has its turn in time.
local function askable(self)
	local now, list, turns = self.mono_ms(), {}, {}
	for _, peer in ipairs(self.peers:others()) do
		local state = state_of(self, peer)
		if is_askable(self, peer, state, now) then list[#list + 1], turns[peer] = peer, state.turn end
	end
	table.sort(list, function(a, b) return turns[a] < turns[b] end)
	return list
end

-- The first one that does not miss this turn, and what is known of it; or nil.
local function next_peer(self)
	for _, peer in ipairs(askable(self)) do
		local state = state_of(self, peer)
		self.turn = self.turn + 1
		state.turn = self.turn
		if state.skip == 0 then return peer, state end
		state.skip = state.skip - 1
	end
	return nil
end

-- A peer that claims differences, but gives this node no record that it takes, gets fewer and fewer turns. What the
-- peer says that it took does not count: one that lacks much asks for it in exchanges of its own.
local function weigh(state, found)
	local barren = found.state ~= "equal" and found.state ~= "other_key" and found.merged == 0
	state.barren = barren and state.barren + 1 or 0
	state.skip = state.barren > 1 and math.min(1 << (state.barren - 2), MAX_SKIP) or 0
end

local function note_failure(self, peer, state, message, code)
	self.counts.failures = self.counts.failures + 1
	state.result = code or "failed"
	self.log:limited("repair " .. peer.wallet, 60, "warn", "cannot compare with a member", {
		peer = peer.wallet, cause = message, code = code,
	})
end

local function note(self, peer, state, found)
	local counts = self.counts
	counts.exchanges = counts.exchanges + 1
	for _, name in ipairs({ "given", "wanted", "bytes" }) do
		counts[name] = counts[name] + found[name]
		state[name] = state[name] + found[name]
	end
	state.result, state.same = found.state, nil
	if found.state == "equal" then
		counts.equal = counts.equal + 1
		state.equal_ms = self.wall_ms()
		state.same = same_of(self, found)
	elseif found.given + found.wanted > 0 then
		self.log:info("repaired", {
			peer = peer.wallet, given = found.given, wanted = found.wanted, merged = found.merged, taken = found.taken,
			state = found.state,
		})
	end
	weigh(state, found)
end

-- Whether both held the same when the exchange began, or hold all of that now.
local function is_shared(found)
	if found.state ~= "done" then return found.state == "equal" end
	return found.taken >= found.given and found.merged >= found.wanted
end

local function exchange_with(self, peer, state, on_begin)
	local release = self.slots:take(peer.wallet)
	if not release then return end
	on_begin(peer)
	local began_ms = self.wall_ms()
	local ok, found, message, code = loop.try(self.one.run, self.one, peer)
	release()
	if not ok then message = "broke down" end
	if not ok or not found then return note_failure(self, peer, state, message, code) end
	if is_shared(found) then self.shared_ms = began_ms end
	note(self, peer, state, found)
end

local function take_turn(self, on_begin)
	local ok, message, code = tree.prepare(self.store, self.secret())
	if not ok then
		return self.log:limited("tree", 60, "warn", "no hash tree: members are not compared", {
			cause = message, code = code,
		})
	end
	local peer, state = next_peer(self)
	if peer then exchange_with(self, peer, state, on_begin) end
end

--- One sync interval: begins an exchange with the next peer. Returns at once.
-- @return the peer, where the exchange has begun already; nil: there is none to ask, or the hash tree comes first
function Repair:tick()
	if not self.is_ready() or not askable(self)[1] then return nil end
	local begun
	loop.spawn(function()
		loop.try(take_turn, self, function(peer) begun = peer end)
	end)
	return begun
end

--- State for /status and for operators.
-- @return by wallet of the peers that speak digests { result: how the last exchange ended ("none": there was none;
--   "equal", "done", "asking", "other_key", or a code); lag_s: seconds since the last one without a difference, or, if
--   there was none, since the peer is known; ever_equal: whether there was one; given, wanted: versions; bytes }
function Repair:status()
	local by_wallet, now = {}, self.wall_ms()
	for _, peer in ipairs(self.peers:others()) do
		local state = state_of(self, peer)
		if self.peers:understands(peer, "digest") then
			by_wallet[peer.wallet] = {
				result = state.result, lag_s = math.max(0, now - (state.equal_ms or state.since_ms)) // 1000,
				ever_equal = state.equal_ms ~= nil, given = state.given, wanted = state.wanted, bytes = state.bytes,
			}
		end
	end
	return by_wallet
end

--- @param deps exchange (kms.sync.exchange); writer (kms.sync.message); peers (kms.peers); store; log; mono_ms,
--   wall_ms; secret (function -> master secret in use); is_ready (function -> whether this node serves); accept
--   (function(message, peer): decides what may be merged, kms.sync.new_apps:before_changes); settings (function -> {
--   interval (s), max_bytes }); max_body_bytes (MAX_SYNC_PAYLOAD_BYTES)
-- @return repair; its fields for others: shared_ms (wall time: another member holds what this node did then, as an
--   exchange has shown; nil: none has); counts since the start: exchanges, equal (of those: without a difference),
--   failures, given and wanted (versions), bytes (of messages with records)
function M.new(deps)
	local self = needs.take(deps,
		"exchange writer peers store log mono_ms wall_ms secret is_ready accept settings max_body_bytes")
	self.counts = { exchanges = 0, equal = 0, failures = 0, given = 0, wanted = 0, bytes = 0 }
	self.turn, self.states = 0, setmetatable({}, { __mode = "k" })
	self.slots = key_slots.new(AT_ONCE)
	self.one = repair_exchange.new({
		exchange = self.exchange, writer = self.writer, peers = self.peers,
		store = self.store, mono_ms = self.mono_ms, wall_ms = self.wall_ms,
		secret = self.secret, is_ready = self.is_ready, accept = self.accept, settings = self.settings,
		max_body_bytes = self.max_body_bytes,
	})
	return setmetatable(self, Repair)
end

return M
