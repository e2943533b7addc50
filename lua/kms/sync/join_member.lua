--- Joining, as far as one member is concerned: all that it holds comes in pages. Where another member has given its
-- records before, repair brings what it had when it was asked for its newest change, and pages what came after that.

local contact = require("kms.sync.contact")
local join_pages = require("kms.sync.join_pages")
local key_lock = require("kms.async.key_lock")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local tree = require("kms.sync.tree")

local M = {}

local Member = {}
Member.__index = Member

local MAX_REPAIRS = 2 -- failed exchanges with a member, until all of it is taken in pages
local TRIES, RETRY_MS = 3, 1000 -- attempts in a row without progress
-- For how long a visit goes on, beside the time that its pages take at 64 KiB/s: then the next round does. A member
-- that lies could give pages without end, byte by byte.
local VISIT_MS = 60000
local MAX_WAITING = 4096

-- Codes of calls that did not reach the member, or whose answer can be anybody's.
local UNREACHED = {
	ERR_ADDRESS_REFUSED = true, ERR_CONNECT = true, ERR_HTTP = true, ERR_JSON = true, ERR_RESOLVE = true,
	ERR_TIMEOUT = true, ERR_TLS = true, ERR_UNVERIFIED = true, ERR_URL = true,
}

-- How far this node is with a member, dropped together with the peer:
--   store    id of the member's store that the numbers belong to
--   since    number of its last change that is merged here; nil: unknown
--   counts   of the records of its pages: total, rejected, and of these poisoned (not decrypted) and future
--   end_ms   when the visit ends, whether or not it has all
local function state_of(self, peer)
	local state = self.states[peer]
	if not state then
		state = { counts = {} }
		self.states[peer] = state
	end
	return state
end

-- ---- one member ------------------------------------------------------------------------------------

-- Takes pages from state.since on. A page gets its full time only while no other member has given its records.
local function take_pages(self, peer, secret, state)
	state.fills = not self.is_filled
	return self.pages:take(peer, secret, state)
end

-- Returns whether this node's hash tree can be compared. Visits that need it at the same time wait for the first one.
local function prepare_tree(self, secret)
	local locked, ok = self.lock:with("tree", tree.prepare, self.store, secret)
	return locked and ok
end

-- Finds by their hash trees what a member holds and this node does not. What changed since the member named its newest
-- number may be missing. Returns true: all up to that number is merged, false: not all | nil, message, code.
local function repair(self, peer, secret, state)
	if not prepare_tree(self, secret) then return false end
	local found, message, code = self.repair:run(peer)
	if found then return (found.state == "equal" or found.state == "done") and not found.seeks end
	state.repairs = (state.repairs or 0) + 1
	-- A member that is building its tree, for instance, is asked once more.
	if UNREACHED[code] or state.repairs < MAX_REPAIRS then return nil, message, code end
	return false
end

-- Takes all that a complete member has, in pages, unless another one has given it meanwhile.
-- Returns { what kms.sync.join_pages returns } | nil.
local function take_first(self, peer, secret, state)
	if self.is_filled then return nil end
	state.since = 0
	local complete, message, code = take_pages(self, peer, secret, state)
	if complete then self.is_filled = true end
	return { complete, message, code }
end

-- After an absence: drops what a complete member has let go of meanwhile, and takes what it has. One that is not
-- complete cannot say what was deleted. Returns as kms.sync.join_pages.
local function catch_up(self, peer, secret, state, probe)
	if not probe.complete then return false end
	if not prepare_tree(self, secret) then return nil, "no hash tree", "ERR_STATE" end
	local found, message, code = self.repair:run(peer, self.absence.before_ms)
	if not found then return nil, message, code end
	if found.state ~= "equal" and found.state ~= "done" then
		state.progress = found.merged + found.forgotten > 0
		return nil, "not all differences have been found", "ERR_STATE"
	end
	self.absence:forgot(peer, found.forgotten)
	state.since = peer.store == state.store and probe.sequence or 0
	return take_pages(self, peer, secret, state)
end

-- Takes what a member has and this node has not had from it before. Returns as kms.sync.join_pages.
local function take(self, peer, secret, state)
	local probe, message, code = self.pages:ask(peer, secret)
	if not probe then return nil, message, code end
	if state.store ~= peer.store then state.store, state.since, state.counts = peer.store, nil, {} end
	if self.absence.before_ms then return catch_up(self, peer, secret, state, probe) end
	if not state.since and probe.complete then
		-- One at a time, and only members that have just answered: the others wait for it.
		local began = self.mono_ms()
		local _, result = self.lock:with("first", function()
			state.end_ms = state.end_ms + self.mono_ms() - began
			return take_first(self, peer, secret, state)
		end)
		if result then return table.unpack(result, 1, 3) end
	end
	if not state.since then
		local ok = false
		if self.is_filled then ok, message, code = repair(self, peer, secret, state) end
		if ok == nil then return nil, message, code end
		state.since = ok and peer.store == state.store and probe.sequence or 0
	end
	return take_pages(self, peer, secret, state)
end

-- One attempt. Returns whether the member is complete | nil, message, code.
local function attempt(self, peer, secret, state)
	if not self.peers:is_known(peer) then
		local ok, message, code = contact.call(self.exchange, peer, self.writer, secret, self.peers)
		if not ok then return nil, message, code end
	end
	if self.peers:understands(peer, "pages") then return take(self, peer, secret, state) end
	local snapshot, message, code = self.bootstrap:snapshot(peer, secret)
	if not snapshot then return nil, message, code end
	return snapshot.complete
end

-- Whether an attempt has failed for another reason than that the member is not there.
local function has_answered(peer, code)
	if not UNREACHED[code] then return true end
	-- Existing nodes break snapshots off under load: they had just given a nonce.
	return peer.gave_nonce == true and (code == "ERR_CONNECT" or code == "ERR_HTTP")
end

--- Forgets how far this node is with each member.
-- @param is_filled whether it has most of what they hold: then hash trees are compared
function Member:reset(is_filled)
	self.states, self.is_filled = setmetatable({}, { __mode = "k" }), is_filled == true
end

--- Visits a member until it has given all, fails without progress, or takes too long. Yields.
-- @return its outcome: "done", "incomplete" (all is merged, but its store is not complete either), "error" (it answers,
--   but does not give), "unlisted" (its list of members lacks this node), "refused" (nothing listens there) or
--   "silent"; message
function Member:visit(peer, secret)
	local state, failures = state_of(self, peer), 0
	state.end_ms = self.mono_ms() + VISIT_MS
	while true do
		state.progress = false
		peer.gave_nonce = nil
		local complete, message, code = attempt(self, peer, secret, state)
		if complete ~= nil then return complete and "done" or "incomplete" end
		-- That takes longer than a few tries: the next round asks again.
		if code == "ERR_NOT_LISTED" then return "unlisted", message end
		local answered = has_answered(peer, code)
		failures = state.progress and 1 or failures + 1
		local ends = failures >= TRIES or self.mono_ms() >= state.end_ms or not self.goes_on(secret)
		if ends or not (answered or state.progress) then
			if answered then return "error", message end
			return code == "ERR_CONNECT" and "refused" or "silent", message
		end
		loop.sleep(RETRY_MS * failures)
	end
end

--- @param deps as kms.sync.join takes them, without tee
-- @return member
function M.new(deps)
	local self = needs.take(deps, "exchange writer bootstrap repair peers store clock mono_ms max_body_bytes "
		.. "max_snapshot_bytes accept goes_on absence ahead_ms")
	self.pages = join_pages.new({
		exchange = self.exchange, writer = self.writer, peers = self.peers, store = self.store, clock = self.clock,
		mono_ms = self.mono_ms, max_body_bytes = self.max_body_bytes, max_snapshot_bytes = self.max_snapshot_bytes,
		accept = self.accept, goes_on = self.goes_on, ahead_ms = self.ahead_ms, counts = self.bootstrap.counts,
	})
	self.lock = key_lock.new(MAX_WAITING)
	setmetatable(self, Member):reset()
	return self
end

return M
