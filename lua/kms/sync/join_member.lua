--- Joining, as far as one member is concerned: all that it holds comes in pages. Where another member has given its
-- records before, repair brings what it had when it was asked for its newest change, and pages what came after that.

local contact = require("kms.sync.contact")
local key_lock = require("kms.async.key_lock")
local loop = require("kms.base.loop")
local native = require("kms_native")
local needs = require("kms.base.needs")
local record_counts = require("kms.sync.record_counts")
local tree = require("kms.sync.tree")

local M = {}

local Member = {}
Member.__index = Member

local PAGE_BYTES = 2 << 20
local PAGE_SHARE = 4 -- a page is at most this part of MAX_SNAPSHOT_BYTES
local PAGE_MS, STALL_S = 120000, 10 -- the longest that a page may take, and without a byte
local MAX_REPAIRS = 2 -- failed exchanges with a member, until all of it is taken in pages
local TRIES, RETRY_MS = 3, 1000 -- attempts in a row without progress
-- Beyond it a visit ends, and goes on in the next round. A member that lies could give pages without end.
local VISIT_MS = 300000
local DOUBTFUL = { "total", "rejected", "poisoned", "future" }
local BEYOND = math.maxinteger -- `since` that asks only for the newest number
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

-- ---- pages -----------------------------------------------------------------------------------------

-- Asks for a page. Returns { last (number), sequence, complete, response } | nil, message, code.
local function ask(self, peer, secret, since)
	local response, message, code = self.exchange:call(peer, function(signature)
		return native.text_body(self.writer:page_request(signature, since, self.page_bytes))
	end, { master = secret, timeout_ms = PAGE_MS, stall_s = STALL_S, max_bytes = self.max_body_bytes })
	if not response then return nil, message, code end
	local last, sequence = response:number("until"), response:number("sequence")
	if not response:flag("data") or not last or not sequence then
		return nil, (self.exchange:distrust(peer, "a page without its numbers")), "ERR_RECORD"
	end
	-- Every page must lead on, or a member could ask for this node's time without end.
	if since < sequence and (last <= since or last > sequence) then
		return nil, "a page that is out of order", "ERR_RECORD"
	end
	return { last = last, sequence = sequence, complete = response:flag("complete") == true, response = response }
end

-- Merges the records of a page. Returns true | nil, message, code.
local function merge(self, peer, page, secret, state)
	local ok, failure, failure_code = self.accept(page.response, peer)
	if not ok then return nil, failure, failure_code end
	if self.peers:understands(peer, "fingerprint") then page.response:set_settles() end
	local counts, message, code = page.response:apply(self.store, secret, peer.number, self.clock:now())
	if not counts then return nil, message, code end
	record_counts.add(self.counts, counts)
	for _, name in ipairs(DOUBTFUL) do state.counts[name] = (state.counts[name] or 0) + (counts[name] or 0) end
	return true
end

-- Records under another secret, or of another time, are not what the cluster holds.
local function is_plausible(counts)
	return counts.poisoned + counts.future == 0 or counts.rejected < counts.total
end

-- Whether records wait for this node's clock to reach their time. Where it was set back at a restart, they are the
-- newest ones, this node's own among them; after ahead_ms only a member that lies has any.
local function is_ahead(self, state)
	return state.counts.future > 0 and self.mono_ms() - self.started_ms < self.ahead_ms
end

-- Merges what a member has from state.since on, up to its newest change when the last page was made: a record that
-- changes before its page is made comes in none of the pages up to an earlier change.
-- Returns whether the member is complete | nil, message, code.
local function take_pages(self, peer, secret, state)
	local store = peer.store
	repeat
		local page, message, code = ask(self, peer, secret, state.since)
		if not page then return nil, message, code end
		if peer.store ~= store then return nil, "the member has restarted", "ERR_STATE" end
		local ok
		ok, message, code = merge(self, peer, page, secret, state)
		if not ok then return nil, message, code end
		state.since, state.progress = math.max(state.since, math.min(page.last, page.sequence)), true
		if state.since >= page.sequence then
			if is_ahead(self, state) then
				state.since, state.counts, state.progress = nil, {}, false
				return nil, "some of its records are ahead of this node's clock", "ERR_STATE"
			end
			if not is_plausible(state.counts) then
				state.progress = false
				return nil, "all of its records were rejected", "ERR_RECORD"
			end
			return page.complete
		end
		if self.mono_ms() >= state.end_ms then return nil, "its pages have not ended in time", "ERR_STATE" end
	until not self.goes_on(secret)
	return nil, "not a member any more", "ERR_STATE"
end

-- ---- one member ------------------------------------------------------------------------------------

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
-- Returns { what take_pages returns } | nil.
local function take_first(self, peer, secret, state)
	if self.is_filled then return nil end
	state.since = 0
	local complete, message, code = take_pages(self, peer, secret, state)
	if complete then self.is_filled = true end
	return { complete, message, code }
end

-- After an absence: drops what a complete member has let go of meanwhile, and takes what it has. One that is not
-- complete cannot say what was deleted. Returns as take_pages.
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

-- Takes what a member has and this node has not had from it before. Returns as take_pages.
local function take(self, peer, secret, state)
	local probe, message, code = ask(self, peer, secret, BEYOND)
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

--- Forgets how far this node is with each member: what it has is under another secret.
function Member:reset()
	self.states, self.is_filled = setmetatable({}, { __mode = "k" }), false
end

--- Visits a member until it has given all, fails without progress, or takes too long. Yields.
-- @return its outcome: "done", "incomplete" (all is merged, but its store is not complete either), "error" (it answers,
--   but does not give), "refused" (nothing listens there) or "silent"; message
function Member:visit(peer, secret)
	local state, failures = state_of(self, peer), 0
	state.end_ms = self.mono_ms() + VISIT_MS
	while true do
		state.progress = false
		peer.gave_nonce = nil
		local complete, message, code = attempt(self, peer, secret, state)
		if complete ~= nil then return complete and "done" or "incomplete" end
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
	self.started_ms, self.counts = self.mono_ms(), self.bootstrap.counts
	self.page_bytes = math.min(PAGE_BYTES, self.max_snapshot_bytes // PAGE_SHARE)
	self.lock = key_lock.new(MAX_WAITING)
	setmetatable(self, Member):reset()
	return self
end

return M
