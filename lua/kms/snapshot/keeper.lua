--- Keeps a sealed snapshot of this node's store in a place outside of it: every interval in which something changed,
-- and at a graceful stop. A full set first, then what changed since; a full set again when those changes are many. Only
-- a node whose store is complete writes or deletes. A failure is logged, counted and tried again; no request waits for
-- any of this.

local loop = require("kms.base.loop")
local manifests = require("kms.snapshot.manifest")
local native = require("kms_native")
local needs = require("kms.base.needs")
local others = require("kms.snapshot.others")
local pruning = require("kms.snapshot.pruning")
local sets = require("kms.snapshot.sets")
local writer = require("kms.snapshot.writer")

local M = {}

local Keeper = {}
Keeper.__index = Keeper

local RETRY_MS = 60000 -- after a failure, unless the interval is shorter
local CHECK_MS = 3600000 -- looks whether its files are still there, also where nothing changed
local STOP_POLL_MS = 10

local NOT_COMPLETE = "this node's store is not complete any more"

-- A number that no file of this node has: its clock, unless that has been set back.
local function next_sequence(self)
	self.newest = math.max(self.newest + 1, self.wall_ms())
	return self.newest
end

-- Whether this node may still write for a secret.
local function goes_on(self, secret)
	return self.is_complete() and self.secrets.current == secret
end

-- ---- what is there ---------------------------------------------------------------------------------

local NOTHING = { manifests = {}, records = {}, unfinished = {} }

-- Begins with a secret. Returns the state of its snapshots | nil, message.
local function begin(self, place, secret, listing)
	local listed = listing[self.wallet()] or NOTHING
	local own, message = manifests.read_all(place, secret, self.wallet(), listed)
	if not own then return nil, message end
	for _, name in ipairs(listed.unfinished) do place:remove_unfinished(self.wallet(), name) end
	if #own > 0 then self.newest = math.max(self.newest, own[#own].sequence) end
	return sets.new(secret, own)
end

-- ---- saving ----------------------------------------------------------------------------------------

-- Removes what is not needed any more. Returns true | nil, message.
local function prune(self, place, state)
	local listing, message = place:list()
	if not listing then return nil, message end
	local wallet = self.wallet()
	for _, file in ipairs(pruning.own(listing[wallet] or NOTHING, state.own, self.keep)) do
		if not goes_on(self, state.secret) then return true end
		local ok
		ok, message = place:remove(wallet, file.sequence, file.kind)
		if not ok then return nil, message end
		if file.kind == "manifest" then sets.forget(state, file.sequence) end
	end
	return self.others:prune(place, state.secret, listing, state.own[#state.own].time)
end

-- Writes a manifest. Returns it | nil, message.
local function write_manifest(self, place, state, peers)
	if not goes_on(self, state.secret) then return nil, NOT_COMPLETE end
	local manifest = {
		sequence = next_sequence(self), time = self.wall_ms(), peers = peers, full = state.full, files = state.files,
	}
	local message
	manifest.sha256, message = manifests.write(place, state.secret, self.wallet(), manifest.sequence, manifest)
	if not manifest.sha256 then return nil, message end
	table.insert(state.own, manifest)
	return manifest
end

-- Writes what changed since the last set, and the manifest. Returns the new state | nil, message.
local function write(self, place, state, listing)
	local has_lost = sets.has_lost(state, listing[self.wallet()] or NOTHING)
	if has_lost then self.log:error("files of this node's sealed snapshots are gone: a full set is written") end
	local is_full = has_lost or sets.wants_full(state)
	local peers, message = self.others:newest(place, state.secret, listing)
	if not peers then return nil, message end
	local set, manifest
	set, message = self.writer:write(place, state.secret, is_full and 0 or state.since)
	if not set then return nil, message end
	if #set.files == 0 then
		state.since = set.since
		return state
	end
	local next_state = sets.added(state, set, is_full)
	manifest, message = write_manifest(self, place, next_state, peers)
	if not manifest then
		self.writer:forget(place, set.files)
		return nil, message
	end
	self.saved = { time = manifest.time, sha256 = manifest.sha256, mono_ms = self.mono_ms() }
	self.counts.bytes = self.counts.bytes + set.bytes
	self.log:info("sealed snapshot written", {
		sequence = manifest.sequence, full = is_full, records = set.records, bytes = set.bytes, files = #set.files,
	})
	return next_state
end

-- Writes what is kept beside the snapshots, once for a secret. Returns true | nil, message.
local function write_beside(self, place, secret)
	if self.beside_of == secret then return true end
	local files, message = self.beside()
	if not files then return nil, message end
	for _, file in ipairs(files) do
		local hash = native.hex_encode(native.sha256(file.text))
		local ok, failure, code = place:write_beside(file.name, native.text_body(file.text), hash)
		if not ok and code ~= "ERR_STATE" then return nil, failure end
	end
	self.beside_of = secret
	return true
end

-- Returns true | nil, message.
local function save(self)
	local secret = self.secrets.current
	local place = self.place(secret)
	local listing, message = place:list()
	if not listing then return nil, message end
	local state = self.state
	if not state or state.secret ~= secret then state, message = begin(self, place, secret, listing) end
	if not state then return nil, message end
	state, message = write(self, place, state, listing)
	if not state then return nil, message end
	self.state = state
	if #state.own == 0 then return true end
	local ok
	ok, message = write_beside(self, place, secret)
	if not ok then self.log:limited("beside", 600, "warn", "custodians' files not written", { reason = message }) end
	ok, message = prune(self, place, state)
	if ok then return true end
	self.log:limited("prune", 600, "warn", "old sealed snapshots cannot be removed", { reason = message })
	return true
end

local function note_failure(self, message)
	self.counts.failed = self.counts.failed + 1
	self.failure = { time = self.wall_ms(), message = message }
	self.log:limited("save", 60, "error", "sealed snapshot not written", {
		reason = message, failures = self.counts.failed,
	})
end

--- Whether the store holds what no snapshot of this node has.
function Keeper:is_behind()
	local state = self.state
	local since = state and state.secret == self.secrets.current and state.since or 0
	return self.store:sequence() > since
end

--- Writes a snapshot now; yields.
-- @return true | nil, message
function Keeper:save()
	if self.saving then return nil, "a sealed snapshot is being written" end
	if not self.is_complete() then return nil, "this node's store is not complete" end
	self.saving = true
	local ran, ok, message = loop.try(save, self)
	self.saving = false
	if not ran then ok, message = nil, "it broke down" end
	local wait_ms = ok and self.interval_ms or math.min(self.interval_ms, RETRY_MS)
	self.next_ms, self.check_ms = self.mono_ms() + wait_ms, self.mono_ms() + CHECK_MS
	if not ok then
		note_failure(self, message)
		return nil, message
	end
	self.counts.ok, self.failure = self.counts.ok + 1, nil
	return true
end

--- Writes a snapshot where one is due. To be called every few seconds.
function Keeper:tick()
	if not self.is_complete() then
		self.next_ms = nil
		return
	end
	self.next_ms = self.next_ms or self.mono_ms() + self.interval_ms
	local is_due = self:is_behind() or self.mono_ms() >= self.check_ms
	if self.saving or self.mono_ms() < self.next_ms or not is_due then return end
	loop.spawn(self.save, self)
end

--- Writes a snapshot at the end of the process, unless there is nothing to write; yields until it is written, or until
-- the deadline.
function Keeper:at_stop(deadline_ms)
	local done = not self.is_complete()
	native.background_rests(false)
	self.writer:hurry()
	loop.spawn(function()
		while self.saving do loop.sleep(STOP_POLL_MS) end
		if not done and self:is_behind() then self:save() end
		done = true
	end)
	while not done and self.mono_ms() < deadline_ms do loop.sleep(STOP_POLL_MS) end
	if not done then self.log:warn("stopping before the sealed snapshot is written") end
end

--- Milliseconds since the store was last saved, 1 at least, while there is something to save; 0: nothing is unsaved.
function Keeper:unsaved_ms()
	if not self.is_complete() or not self:is_behind() then return 0 end
	return math.max(1, self.mono_ms() - (self.saved and self.saved.mono_ms or self.started_ms))
end

--- What GET /status shows.
function Keeper:status()
	local fine = not self.is_complete() and "waiting" or self.saving and "saving" or "ok"
	return {
		state = self.failure and "failing" or fine, failures = self.counts.failed,
		unsaved_s = (self:unsaved_ms() + 999) // 1000, saved_at_ms = self.saved and self.saved.time,
		last_failure = self.failure and self.failure.message,
	}
end

--- @param deps place (function(secret) -> as kms.snapshot.folder opens it); store; secrets (kms.node.master_secrets);
--   beside (function -> list of { name, text }, what is kept beside the snapshots | nil, message); wallet (function ->
--   this node's); is_complete (function -> whether its store is); is_member (function(wallet)); log, mono_ms, wall_ms;
--   keep (SNAPSHOT_KEEP), interval_ms, retention_ms (TOMBSTONE_RETENTION_MS), skew_ms
-- @return keeper; its fields for others: counts { ok, failed, bytes }, saved { time, sha256 } (the newest manifest
--   of this process; nil: none yet)
function M.new(deps)
	local self = setmetatable(needs.take(deps, "place store secrets beside wallet is_complete is_member log mono_ms "
		.. "wall_ms keep interval_ms retention_ms skew_ms"), Keeper)
	self.newest, self.started_ms, self.check_ms = 0, self.mono_ms(), self.mono_ms() + CHECK_MS
	self.counts = { ok = 0, failed = 0, bytes = 0 }
	self.others = others.new({
		wallet = self.wallet, is_member = self.is_member, log = self.log, retention_ms = self.retention_ms,
		skew_ms = self.skew_ms,
	})
	self.writer = writer.new({
		store = self.store, wallet = self.wallet, next_sequence = function() return next_sequence(self) end,
		goes_on = function(secret) return goes_on(self, secret) end,
	})
	return self
end

return M
