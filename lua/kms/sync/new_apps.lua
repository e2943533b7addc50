--- Which applications may get a namespace by what a member sends (docs/protocol.md section 9). A member can invent any
-- number of application ids: only those that the chain knows are admitted. Look-ups of different members have turns.
-- Records of the others count as `later`: the chain may be down, or this node's view of it older than the sender's.

local loop = require("kms.base.loop")
local lru = require("kms.base.lru")
local needs = require("kms.base.needs")
local parallel = require("kms.async.parallel")
local rate_queue = require("kms.async.rate_queue")
local types = require("kms.config.types")

local M = {}

local NewApps = {}
NewApps.__index = NewApps

local BATCH = 50 -- applications in one look-up
local MAX_CACHED = 10000 -- of known applications, and of unknown ones
local UNKNOWN_TTL_MS = 10000
local DELTA_MS = 5000 -- how long the reply to a delta waits for look-ups
local DELTA_QUEUE = { per_second = 4, burst = 40, at_once = 4, max_waiting = 64, wait_ms = DELTA_MS }
-- This node asks for snapshots itself, and mostly serves nothing before it has them.
local SNAPSHOT_AT_ONCE = 4
local SPARE_PART = 100 -- so many times fewer than namespaces may snapshots bring in that the chain does not know
local NO_SPARE = { left = 0 }
-- So many times fewer may a node of this version name in a minute: it admits none but a few of existing nodes itself.
local UNKNOWN_PART, MIN_UNKNOWN = 50, 100
local MINUTE_MS = 60000
local SNAPSHOT_QUEUE = { per_second = 40, burst = 400, at_once = 4, max_waiting = 256, wait_ms = 30000 }

-- What is known without the chain. Returns true | false | nil: it has to be asked.
local function cached(self, id, now)
	if not types.app_id.parse(id) then return false end
	if self.known:get(id, now) then return true end
	if self.unknown:get(id, now) then return false end
	return nil
end

local function remember(self, id, is_known)
	local now = self.mono_ms()
	if is_known then
		self.known:put(id, true, now + self.ttl_ms)
	else
		self.unknown:put(id, true, now + math.min(UNKNOWN_TTL_MS, self.ttl_ms))
	end
end

-- Returns table id -> boolean | nil, message.
local function ask_chain(self, ids)
	local found = {}
	local view, failure = self.chain:snapshot()
	if not view then return nil, failure end
	local ok, unread = view:prefetch_apps(ids)
	if not ok then return nil, unread end
	for _, id in ipairs(ids) do
		local app, message, code = view:app(id)
		if not app and code ~= "ERR_NOT_FOUND" then return nil, message end
		found[id] = app ~= nil
	end
	return found
end

-- Asks about ids that are not cached. Returns table id -> boolean | nil: not now.
local function look_up(self, ids, queue, wallet)
	local admitted, ok, found, message = queue:with({ wallet, "" }, loop.try, ask_chain, self, ids)
	if not admitted then return nil end
	if not ok then message, found = "the look-up threw an error", nil end
	if not found then
		self.log:limited("new apps", 60, "warn", "cannot check the applications of a member's records", { cause = message })
		return nil
	end
	for id, is_known in pairs(found) do remember(self, id, is_known) end
	return found
end

-- Admits those of a batch that the chain knows, and as many unknown ones as `spare` allows. Returns how many it does
-- not know, how many could not be checked.
local function admit_batch(self, message, batch, queue, wallet, spare)
	local missing, now, unknown, unchecked = {}, self.mono_ms(), 0, 0
	for _, id in ipairs(batch.ids) do
		if cached(self, id, now) == nil then missing[#missing + 1] = id end
	end
	local found = #missing > 0 and look_up(self, missing, queue, wallet) or {}
	for i, id in ipairs(batch.ids) do
		local is_known = found[id]
		if is_known == nil then is_known = cached(self, id, now) end
		local is_spare = is_known == false and spare.left > 0
		if is_spare then spare.left = spare.left - 1 end
		if is_known or is_spare then message:admit(batch.indexes[i]) end
		if is_known == false then unknown = unknown + 1 end
		if is_known == nil then unchecked = unchecked + 1 end
	end
	return unknown, unchecked
end

local function report(self, wallet, unknown)
	if unknown == 0 then return end
	local text = "a member sends records of applications that the chain does not know"
	self.log:limited("unknown apps " .. wallet, 60, "warn", text, { peer = wallet, applications = unknown })
end

--- Admits the applications of a delta. Waits for at most a few seconds. Yields.
-- @param message of native.sync_parse; @param wallet the sender's
-- @return whether there was anything to check, so that time has passed
function NewApps:of_delta(message, wallet)
	local from, deadline, all_unknown, any = 1, self.mono_ms() + DELTA_MS, 0, false
	while from and self.mono_ms() < deadline do
		local batch = {}
		batch.ids, batch.indexes, from = message:new_apps(self.store, from, BATCH)
		if #batch.ids > 0 then
			any = true
			local unknown, unchecked = admit_batch(self, message, batch, self.delta_queue, wallet, NO_SPARE)
			all_unknown = all_unknown + unknown
			if unchecked > 0 then break end
		elseif from then
			loop.pause()
		end
	end
	report(self, wallet, all_unknown)
	return any
end

-- What a message has, in batches, but no more than the store has namespaces.
local function batches_of(self, message)
	local batches, from, left = {}, 1, self.max_apps
	while from and left > 0 do
		local batch = {}
		batch.ids, batch.indexes, from = message:new_apps(self.store, from, math.min(BATCH, left))
		if #batch.ids > 0 then batches[#batches + 1] = batch end
		left = left - #batch.ids
		if from then loop.pause() end
	end
	return batches
end

-- Counts applications that the chain does not know, in snapshots of a member of this version. Returns whether it named
-- more in a minute than it may hold: each costs a look-up, and a page may name thousands.
local function invents(self, peer, unknown)
	local now, seen = self.mono_ms(), self.seen[peer]
	if not seen or now - seen.since_ms >= MINUTE_MS then
		seen = { count = 0, since_ms = now }
		self.seen[peer] = seen
	end
	seen.count = seen.count + unknown
	return seen.count > self.max_unknown
end

--- Admits the applications of a snapshot, or of a page of one. An existing node gives its records once: of what it
-- has, a few applications are admitted that the chain does not show yet. Yields.
-- @return true | nil, message, code: some could not be checked, or a node of this version names too many unknown ones
function NewApps:of_snapshot(message, peer)
	local is_ours = self.peers:understands(peer, "store")
	local spare = is_ours and NO_SPARE or self.spare
	local all_unknown, all_unchecked = 0, 0
	parallel.map(batches_of(self, message), SNAPSHOT_AT_ONCE, function(batch)
		if is_ours and invents(self, peer, 0) then return end
		local unknown, unchecked = admit_batch(self, message, batch, self.snapshot_queue, peer.wallet, spare)
		all_unknown, all_unchecked = all_unknown + unknown, all_unchecked + unchecked
		invents(self, peer, unknown)
	end)
	report(self, peer.wallet, all_unknown)
	if is_ours and invents(self, peer, 0) then
		return nil, "it names too many applications that the chain does not know", "ERR_RECORD"
	end
	if all_unchecked == 0 then return true end
	return nil, ("%d of its applications cannot be checked against the chain"):format(all_unchecked), "ERR_CHAIN"
end

--- A function that admits the applications of a message that holds a few changes, then does the same as another one.
-- @param accept function(message, peer)
function NewApps:before_changes(accept)
	return function(message, peer)
		self:of_delta(message, peer.wallet)
		accept(message, peer)
	end
end

--- A function that does the same for a snapshot, or a page of one, and returns what of_snapshot returns.
-- @param accept function(message, peer)
function NewApps:before_snapshot(accept)
	return function(message, peer)
		local ok, failure, code = self:of_snapshot(message, peer)
		accept(message, peer)
		return ok, failure, code
	end
end

--- @param deps chain (kms.chain); peers (kms.peers); store; log; mono_ms; config (REGISTRY_CACHE_TTL_SECONDS: how long
--   the chain's word for an application is valid; MAX_NAMESPACES)
function M.new(deps)
	local self = needs.take(deps, "chain peers store log mono_ms config")
	self.ttl_ms, self.max_apps = self.config.REGISTRY_CACHE_TTL_SECONDS * 1000, self.config.MAX_NAMESPACES
	self.max_unknown = math.max(self.max_apps // UNKNOWN_PART, MIN_UNKNOWN)
	self.spare = { left = math.max(self.max_apps // SPARE_PART, 1) }
	self.seen = setmetatable({}, { __mode = "k" }) -- by peer { count (of unknown applications), since_ms }
	self.known, self.unknown = lru.new(MAX_CACHED), lru.new(MAX_CACHED)
	self.delta_queue, self.snapshot_queue = rate_queue.new(DELTA_QUEUE), rate_queue.new(SNAPSHOT_QUEUE)
	return setmetatable(self, NewApps)
end

return M
