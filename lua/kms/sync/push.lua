--- Pushes changes to the other members (wire-protocol section 9). The store numbers every change;
-- each peer has a cursor, moved by that peer's verified acknowledgement and by nothing else, so that
-- a push that fails is sent again.
--
-- Local changes go to everybody; merged ones only to existing nodes, which push each change once, to
-- whoever is there at that moment. Nothing goes back to its sender.

local loop = require("kms.loop")
local native = require("kms_native")

local M = {}

local Pusher = {}
Pusher.__index = Pusher

local AROUND_BYTES = 4096 -- what is around the records, at the most
local EXISTING_BYTES = 990000 -- of records whose envelope an existing node takes: its bodies end at 2 MB
local TIMEOUT_MS = 30000
local MAX_RETRIES = 16
local MIN_PAGE_BYTES = 65536 -- to which pages shrink for a peer that says 413

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

local function page_options(self, peer, cursor, since)
	local settings, ours = self.settings(), self.peers:understands(peer, "store")
	local most = ours and math.max(self.max_body_bytes // 2 - AROUND_BYTES, 1) or EXISTING_BYTES
	return {
		since = since, except = peer.number, local_only = ours, max_records = settings.max_records,
		max_bytes = math.min(settings.max_bytes, most, cursor.page_bytes or most), max_record_bytes = most,
	}
end

-- Its limit is lower than this node's: shorter pages from now on. No record is skipped for that:
-- anybody on the way can say 413.
local function shorten(self, peer, cursor)
	local options = page_options(self, peer, cursor, cursor.since)
	cursor.page_bytes = math.max(options.max_bytes // 2, MIN_PAGE_BYTES)
end

local function note_skipped(self, peer, cursor, count)
	if not count or count == 0 then return end
	cursor.skipped, self.counts.skipped = cursor.skipped + count, self.counts.skipped + count
	self.log:warn("records too large for this peer are not sent", { peer = peer.wallet, records = count })
end

-- Passes over what is not for this peer. Returns whether there is something to send.
local function has_news(self, peer, cursor)
	while cursor.since < self.store:sequence() do
		local options, life = page_options(self, peer, cursor, cursor.since), cursor.life
		options.max_records, options.prefix, options.suffix = 1, "", ""
		local page, through, _, skipped = self.store:delta(options)
		if page == nil then return nil, through end
		if page then
			page:close()
			return true
		end
		-- Its store may have become a new one while this one was looked through.
		if cursor.life == life then
			note_skipped(self, peer, cursor, skipped)
			cursor.since = through
		end
	end
	return false
end

-- Sends what is above `since`. Returns the number of the last change that it covers, whether some of
-- them were stamped in the peer's future | nil, message, code.
local function send_page(self, peer, cursor, since)
	local through, records, skipped
	local answer, message, code = self.caller:exchange(peer, function(signature)
		local page
		local options = page_options(self, peer, cursor, since)
		options.prefix, options.suffix = self.writer:delta(signature)
		page, through, records, skipped = self.store:delta(options)
		if page then return page end
		if page == nil then return nil, through, records end
		return nil, "nothing to send", "ERR_NOTHING"
	end, { master = self.secret(), timeout_ms = TIMEOUT_MS })
	if not answer and code ~= "ERR_NOTHING" then return nil, message, code end
	note_skipped(self, peer, cursor, skipped)
	if not answer then return through end
	local counts = answer:counts()
	self.counts.pushes, self.counts.records = self.counts.pushes + 1, self.counts.records + records
	self.counts.rejected = self.counts.rejected + math.min(counts.rejected or 0, records)
	self.log:debug("pushed", {
		peer = peer.wallet, records = records, merged = counts.merged, rejected = counts.rejected,
	})
	return through, records > 0 and ((counts.future or 0) > 0
		or (counts.future == nil and (counts.rejected or 0) > 0))
end

-- Learns what a peer is: large records are for those that say that they take them.
local function greet(self, peer)
	local answer, message, code = self.caller:exchange(peer, function(signature)
		local before, behind = self.writer:delta(signature)
		return native.text_body(before .. "{}" .. behind)
	end, { master = self.secret() })
	if not answer then return nil, message, code end
	return true
end

-- Records that were stamped in the peer's future are sent once more when its clock is there.
local function note_future(self, cursor, since)
	if #cursor.retries == MAX_RETRIES then table.remove(cursor.retries, 1) end
	cursor.retries[#cursor.retries + 1] = { since = since, due_ms = self.mono_ms() + self.skew_ms + 1000 }
end

local function failed(self, peer, cursor, message, code)
	self.counts.failures = self.counts.failures + 1
	if code == "ERR_TOO_LARGE" then shorten(self, peer, cursor) end
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
		local through, message, code = send_page(self, peer, cursor, cursor.retries[1].since)
		if not through then return failed(self, peer, cursor, message, code) end
		if cursor.life ~= life then return false end
		table.remove(cursor.retries, 1)
	end
	return true
end

-- One push. Returns whether another one may follow.
local function push_once(self, peer, cursor)
	local news, message = has_news(self, peer, cursor)
	if news == nil then return failed(self, peer, cursor, message) end
	if not news then return false end
	local since, life = cursor.since, cursor.life
	local through, future, code = send_page(self, peer, cursor, since)
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
		local ok, message, code = greet(self, peer)
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
	return setmetatable({
		caller = deps.caller, writer = deps.writer, peers = deps.peers, store = deps.store, log = deps.log,
		mono_ms = deps.mono_ms, secret = deps.secret, is_ready = deps.is_ready, max_body_bytes = deps.max_body_bytes,
		skew_ms = deps.skew_ms, order = deps.order, settings = deps.settings,
		cursors = setmetatable({}, { __mode = "k" }), running = 0,
		-- Since the start: pushes that were acknowledged and that failed; records that were in them, that
		-- peers rejected, that are too large for a peer.
		counts = { pushes = 0, failures = 0, records = 0, rejected = 0, skipped = 0 },
	}, Pusher)
end

return M
