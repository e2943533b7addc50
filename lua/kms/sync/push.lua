--- Pushes changes to the other members (docs/protocol.md section 9). The store numbers every change. Each peer
-- has a cursor, the last change that it has acknowledged; only its verified response moves the cursor, so a push
-- that fails is sent again.
--
-- This node's own changes go to all peers. Merged changes go only to existing nodes, which push each change once
-- and only to peers that they reach at that moment. No change goes back to its sender.
--
-- A peer that there is nothing to send to is contacted (kms.sync.contact), so that one that stops answering shows.

local behind = require("kms.sync.behind")
local contact = require("kms.sync.contact")
local cursors = require("kms.sync.cursor")
local needs = require("kms.base.needs")
local push_pages = require("kms.sync.push_pages")
local visits = require("kms.sync.visits")

local M = {}

local Pusher = {}
Pusher.__index = Pusher

local STUCK_INTERVALS = 3
local SECOND_MS = 1000

local function cursor_of(self, peer)
	local cursor = self.cursors[peer] or cursors.new()
	self.cursors[peer] = cursor
	return cursor
end

--- Starts again from the first change: the peer has restarted, and its store is empty.
function Pusher:started_anew(peer)
	cursors.reset(cursor_of(self, peer))
end

local function note_failure(self, peer, cursor, event, message, code)
	cursor.failed, cursor.failure = true, code
	-- An existing node that restarts has an empty store and does not say so.
	if code == "ERR_CONNECT" and not self.peers:understands(peer, "store") then cursor.lost = true end
	self.log:limited("push " .. peer.wallet, 60, "warn", event, { peer = peer.wallet, cause = message, code = code })
end

local function failed(self, peer, cursor, message, code)
	self.counts.failures = self.counts.failures + 1
	note_failure(self, peer, cursor, "cannot push", message, code)
	return nil
end

-- Returns whether the peer has answered.
local function make_contact(self, peer, cursor)
	local ok, message, code = contact.call(self.exchange, peer, self.writer, self.secret(), self.peers)
	if ok then cursor.failed = nil else note_failure(self, peer, cursor, "a peer does not answer", message, code) end
	return ok
end

-- Sends the page above `since`. Returns what was sent, or nil: it failed, or the peer has restarted meanwhile.
local function send(self, peer, cursor, since, through)
	local life = cursor.life
	local sent, message, code = self.pages:send(peer, cursor, since, through)
	if not sent then return failed(self, peer, cursor, message, code) end
	cursor.failed = nil
	-- The page may have gone to the store before the restart. Begin again at the next tick and not here: a peer
	-- that claims a new store each time must not be pushed to without end.
	if cursor.life == life and sent.refused then behind.refuse(cursor, since, sent.through) end
	return cursor.life == life and sent or nil
end

-- Sends one page of what the peer has not taken before, if that is due. Returns whether to go on.
local function push_again(self, peer, cursor)
	local since = self.behind:next(cursor)
	local sent = since and send(self, peer, cursor, since, cursor.behind.through)
	if not sent then return false end
	self.behind:resent(cursor, since, sent)
	self.on_progress()
	return true
end

-- Sends one page, and one that is to be sent again. Returns whether to go on.
local function push_once(self, peer, cursor)
	local found, failure = self.pages:has_news(peer, cursor)
	if found == nil then failed(self, peer, cursor, failure) end
	if not found then return found ~= nil and push_again(self, peer, cursor) end
	local since = cursor.since
	local sent = send(self, peer, cursor, since)
	if not sent then return false end
	cursor.since = sent.through
	if sent.later > 0 then self.behind:mark(cursor, since, sent) end
	self.on_progress()
	return not self.behind:next(cursor) or push_again(self, peer, cursor)
end

local function push_to(self, peer, cursor)
	if cursor.lost then cursors.reset(cursor) end
	if not self.peers:is_known(peer) and not make_contact(self, peer, cursor) then return end
	while self.is_ready() and push_once(self, peer, cursor) do self:acknowledge() end
end

-- All peers that may be called, due or not, so that a policy's choice among them is stable from tick to tick.
local function callable(self, now)
	local list = {}
	for _, peer in ipairs(self.peers:others()) do
		if self.peers:callable(peer, now) then list[#list + 1] = peer end
	end
	return list
end

-- Plans a visit to a peer, unless there is one.
local function plan(self, peer, cursor, run)
	if not cursor.running then cursor.began_ms = self.mono_ms() end
	self.visits:plan(peer, cursor, run)
end

--- Pushes to peers that may be called, in the policy's order, at most `parallel` at a time: the others wait for their
-- turn. Returns at once, so that a peer that hangs delays no other.
-- @param wants function(peer, cursor, now (monotonic ms)) -> whether to push; cursor.running: there is a visit already
-- @return the peers that may be called, now
function Pusher:push_where(wants)
	local now = self.mono_ms()
	local peers = callable(self, now)
	for _, peer in ipairs(self.order(peers)) do
		local cursor = cursor_of(self, peer)
		if wants(peer, cursor, now) then plan(self, peer, cursor, self.push_to) end
	end
	self.visits:start()
	return peers, now
end

--- Whether a peer is to be called at a tick: it is out of its backoff, and there is something to send.
function Pusher:is_due(peer, cursor, now)
	if cursor.running or now < peer.retry_ms then return false end
	return not self.peers:is_known(peer) or self:is_behind(cursor) or self.behind:next(cursor) ~= nil
end

--- Whether a peer's present store holds the changes above number `since` up to `sequence`, as far as this node knows.
function Pusher:holds(peer, since, sequence)
	return behind.holds(cursor_of(self, peer), since, sequence)
end

--- Whether a visit to a peer has been under way for three intervals.
function Pusher:is_stuck(peer, now)
	local cursor = cursor_of(self, peer)
	return cursor.running and now - cursor.began_ms > STUCK_INTERVALS * SECOND_MS * self.settings().interval
end

--- Whether there are changes that a peer has not acknowledged.
function Pusher:is_behind(cursor)
	return cursor.since < self.store:sequence()
end

-- Whether there is something to send to a peer. Moves the cursor past changes that are not for it.
local function has_something(self, peer, cursor)
	if not self.peers:is_known(peer) or self.behind:next(cursor) then return true end
	return self.pages:has_news(peer, cursor) ~= false
end

-- Contacts the peers of which an answer is due and that get no push: where there is nothing to send, or the policy
-- leaves them out. `asked`: the one that is asked something else at this moment, or nil.
local function contact_silent(self, peers, chosen, asked, now)
	for _, peer in ipairs(peers) do
		if peer ~= asked and contact.is_due(self.exchange, peer, self.settings().interval, now) then
			plan(self, peer, cursor_of(self, peer), function(...)
				-- An answer may say that the peer has restarted: then it gets everything at once.
				if make_contact(self, ...) and chosen[peer] then push_to(self, ...) end
			end)
		end
	end
	self.visits:start()
end

--- One sync tick: pushes to the peers that are due, and contacts the others.
-- @param compare function -> a peer that it asks something, which needs no contact; called where none is pushed to
function Pusher:tick(compare)
	if not self.is_ready() then return end
	local chosen = {}
	local peers, now = self:push_where(function(peer, cursor, now)
		chosen[peer] = true
		return self:is_due(peer, cursor, now) and has_something(self, peer, cursor)
	end)
	contact_silent(self, peers, chosen, compare and self.visits:is_idle() and compare() or nil, now)
	self:acknowledge()
end

--- How many changes each member has not acknowledged. A record that was changed again counts each time.
-- @return by wallet a number above 0; members that have acknowledged all are left out
function Pusher:unacknowledged()
	local left = {}
	for _, peer in ipairs(self.peers:others()) do
		local cursor = cursor_of(self, peer)
		self.pages:has_news(peer, cursor) -- moves the cursor past what is not for the peer
		local count = self.store:sequence() - behind.taken(cursor)
		if count > 0 then left[peer.wallet] = count end
	end
	return left
end

--- Tells the store the last change that every other member has acknowledged.
function Pusher:acknowledge()
	local acknowledged
	for _, peer in ipairs(self.peers:others()) do
		local since = behind.taken(cursor_of(self, peer))
		acknowledged = math.min(acknowledged or since, since)
	end
	self.store:set_acknowledged(acknowledged)
end

--- State for /status.
-- @return { sequence (number of the newest change), peers: by wallet { acknowledged (number of a change),
--   skipped (records too large for it), later (records that it has not taken yet), state, banned_for, banned_s } }
function Pusher:status()
	local peers = {}
	for _, peer in ipairs(self.peers:others()) do
		local cursor = cursor_of(self, peer)
		local state, why, left_s = self.peers:state(peer.wallet)
		peers[peer.wallet] = {
			acknowledged = behind.taken(cursor), skipped = cursor.skipped,
			later = cursor.behind and cursor.behind.records or 0, state = state, banned_for = why, banned_s = left_s,
		}
	end
	return { sequence = self.store:sequence(), peers = peers }
end

--- @param deps exchange (kms.sync.exchange); writer (kms.sync.message); peers (kms.peers); store; log; mono_ms;
--   secret (function -> master secret in use); is_ready (function -> whether this node serves); max_body_bytes
--   (of a push to a node of this version); skew_ms (MAX_CLOCK_SKEW_MS); order (function(peers) -> peers to push
--   to, in order); settings (function -> { interval (s), max_records, max_bytes, parallel }); on_progress (function:
--   a peer has acknowledged changes)
-- @return pusher; `counts` since the start: pushes acknowledged, pushes that failed (failures), records sent,
--   records that peers rejected, records skipped as too large for a peer
function M.new(deps)
	local self = needs.take(deps,
		"exchange writer peers store log mono_ms secret is_ready max_body_bytes skew_ms order settings",
		"on_progress")
	self.counts = { pushes = 0, failures = 0, records = 0, rejected = 0, skipped = 0 }
	self.on_progress = self.on_progress or function() end
	self.cursors = setmetatable({}, { __mode = "k" })
	self.behind = behind.new({ mono_ms = self.mono_ms, skew_ms = self.skew_ms })
	self.push_to = function(...) push_to(self, ...) end
	self.visits = visits.new({
		parallel = function() return self.settings().parallel end,
		may_visit = function(peer) return self.is_ready() and self.peers:callable(peer, self.mono_ms()) end,
	})
	self.pages = push_pages.new({
		exchange = self.exchange, writer = self.writer, peers = self.peers, store = self.store, log = self.log,
		mono_ms = self.mono_ms, secret = self.secret, settings = self.settings, max_body_bytes = self.max_body_bytes,
		counts = self.counts,
	})
	return setmetatable(self, Pusher)
end

return M
