--- Pushes changes to the other members (docs/protocol.md section 9). The store numbers every change;
-- each peer has a cursor, moved by that peer's verified acknowledgement and by nothing else, so that
-- a push that fails is sent again.
--
-- Local changes go to everybody; merged ones only to existing nodes, which push each change once, to
-- whoever is there at that moment. Nothing goes back to its sender.

local loop = require("kms.base.loop")
local pages = require("kms.sync.push_pages")

local M = {}

local Pusher = {}
Pusher.__index = Pusher

local MAX_RETRIES = 16

-- What is remembered of pushes to a peer, for as long as the peer itself is.
local function cursor_of(self, peer)
	local cursor = self.cursors[peer]
	if not cursor then
		cursor = { since = 0, skipped = 0, retries = {}, life = 0 }
		self.cursors[peer] = cursor
	end
	return cursor
end

local function start_anew(cursor)
	cursor.since, cursor.retries, cursor.lost, cursor.life = 0, {}, false, cursor.life + 1
	cursor.page_bytes = nil
end

--- The peer's store is a new one: whatever it had acknowledged may be gone.
function Pusher:started_anew(peer)
	start_anew(cursor_of(self, peer))
end

-- Records that were stamped in the peer's future are sent once more when its clock is there.
local function note_future(self, cursor, since)
	if #cursor.retries == MAX_RETRIES then table.remove(cursor.retries, 1) end
	cursor.retries[#cursor.retries + 1] = { since = since, due_ms = self.mono_ms() + self.skew_ms + 1000 }
end

local function failed(self, peer, cursor, message, code)
	self.counts.failures = self.counts.failures + 1
	if code == "ERR_TOO_LARGE" then self.pages:shorten(peer, cursor) end
	-- An existing node that was gone may come back empty, and does not say so.
	if code == "ERR_CONNECT" and not self.peers:understands(peer, "store") then cursor.lost = true end
	self.log:limited("push " .. peer.wallet, 60, "warn", "cannot push", {
		peer = peer.wallet, cause = message, code = code,
	})
	return false
end

local function send_retries(self, peer, cursor)
	local life = cursor.life
	while cursor.retries[1] and self.mono_ms() >= cursor.retries[1].due_ms do
		local through, message, code = self.pages:send(peer, cursor, cursor.retries[1].since)
		if not through then return failed(self, peer, cursor, message, code) end
		if cursor.life ~= life then return false end
		table.remove(cursor.retries, 1)
	end
	return true
end

-- One push. Returns whether another one may follow.
local function push_once(self, peer, cursor)
	local news, message = self.pages:has_news(peer, cursor)
	if news == nil then return failed(self, peer, cursor, message) end
	if not news then return false end
	local since, life = cursor.since, cursor.life
	local through, future, code = self.pages:send(peer, cursor, since)
	if not through then return failed(self, peer, cursor, future, code) end
	-- Where it has started anew meanwhile, nobody knows which of its lives this push went to. It
	-- begins again with the next tick: a peer that always says so is not pushed to without end.
	if cursor.life ~= life then return false end
	cursor.since = through
	if future then note_future(self, cursor, since) end
	return true
end

local function push_to(self, peer)
	local cursor = cursor_of(self, peer)
	if cursor.lost then start_anew(cursor) end
	if not self.peers:is_known(peer) then
		local ok, message, code = self.pages:greet(peer)
		if not ok then return failed(self, peer, cursor, message, code) end
	end
	if not send_retries(self, peer, cursor) then return end
	while self.is_ready() and push_once(self, peer, cursor) do self:acknowledge() end
end

-- All that can be called, due or not: a choice among them stays the same from tick to tick.
local function callable(self, now)
	local list = {}
	for _, peer in ipairs(self.peers:others()) do
		if self.peers:callable(peer, now) then list[#list + 1] = peer end
	end
	return list
end

local function is_due(self, peer, cursor, now)
	if cursor.running or now < peer.retry_ms then return false end
	local retry = cursor.retries[1]
	return not self.peers:is_known(peer) or cursor.since < self.store:sequence() or (retry ~= nil and now >= retry.due_ms)
end

--- One sync tick: pushes to the peers that are due, as many at once as may be (one that hangs delays
-- nobody else). Returns at once.
function Pusher:tick()
	if not self.is_ready() then return end
	local now, parallel = self.mono_ms(), self.settings().parallel
	for _, peer in ipairs(self.order(callable(self, now))) do
		local cursor = cursor_of(self, peer)
		if self.running < parallel and is_due(self, peer, cursor, now) then
			cursor.running, self.running = true, self.running + 1
			loop.spawn(function()
				loop.try(push_to, self, peer)
				cursor.running, self.running = false, self.running - 1
			end)
		end
	end
	self:acknowledge()
end

--- Tells the store what every other member has acknowledged.
function Pusher:acknowledge()
	local least
	for _, peer in ipairs(self.peers:others()) do
		local since = cursor_of(self, peer).since
		least = math.min(least or since, since)
	end
	self.store:set_acknowledged(least)
end

--- For /status: the newest change, and by wallet what is acknowledged and what could not be sent.
function Pusher:status()
	local peers = {}
	for _, peer in ipairs(self.peers:others()) do
		local cursor = cursor_of(self, peer)
		local state, why, left_s = self.peers:state(peer.wallet)
		peers[peer.wallet] = {
			acknowledged = cursor.since, skipped = cursor.skipped, state = state, banned_for = why, banned_s = left_s,
		}
	end
	return { sequence = self.store:sequence(), peers = peers }
end

--- @param deps caller, writer, peers, store, log, mono_ms; secret (function: master secret in use),
-- is_ready (function); max_body_bytes (of a push to a node of ours), skew_ms (MAX_CLOCK_SKEW_MS); order
-- (function(peers) -> those to push to, in order), settings (function -> max_records, max_bytes, parallel)
function M.new(deps)
	-- Since the start: pushes that were acknowledged and that failed; records that were in them, that
	-- peers rejected, that are too large for a peer.
	local counts = { pushes = 0, failures = 0, records = 0, rejected = 0, skipped = 0 }
	return setmetatable({
		peers = deps.peers, store = deps.store, log = deps.log, mono_ms = deps.mono_ms, is_ready = deps.is_ready,
		skew_ms = deps.skew_ms, order = deps.order, settings = deps.settings, counts = counts, running = 0,
		cursors = setmetatable({}, { __mode = "k" }),
		pages = pages.new({
			caller = deps.caller, writer = deps.writer, peers = deps.peers, store = deps.store, log = deps.log,
			secret = deps.secret, settings = deps.settings, max_body_bytes = deps.max_body_bytes, counts = counts,
		}),
	}, Pusher)
end

return M
