--- Brings back what the sealed snapshots of a cluster hold, for a node whose store is empty and that finds no member
-- with a complete one. All nodes' newest snapshots are merged: what one of them lacks, another one may have. The order
-- does not matter, so files are merged as they come.

local is_bad = require("kms.snapshot.manifest").is_bad
local native = require("kms_native")
local needs = require("kms.base.needs")
local selection = require("kms.snapshot.selection")

local M = {}

local Restore = {}
Restore.__index = Restore

-- The records' origin: no peer has this number, so nobody counts as having them.
local ORIGIN = (1 << 32) - 1
local REPORT_MS = 10000

-- ---- one file --------------------------------------------------------------------------------------

-- Merges the records of a page. Returns true | nil, message.
local function merge_page(self, secret, page)
	local counts, message = page:apply(self.store, secret, ORIGIN, self.wall_ms())
	page:close()
	if not counts then return nil, message end
	local progress = self.progress
	progress.records, progress.merged = progress.records + counts.total, progress.merged + counts.merged
	progress.rejected = progress.rejected + counts.rejected
	if not self.goes_on(secret) then return nil, "this node is no member any more, or has another secret" end
	return true
end

-- Reads and opens a file. Returns it | nil, message, whether it is bad.
local function open_file(place, secret, wallet, file)
	local body, message, code = place:read(wallet, file.sequence, "records")
	if not body then return nil, message, is_bad(code) end
	local opened, hash
	opened, hash, code = native.snapshot_open(secret, "records", wallet, file.sequence, body)
	if not opened then
		message = hash
		return nil, message, is_bad(code)
	end
	if hash ~= file.sha256 then return nil, "is another file than the one that its manifest names", true end
	return opened
end

-- Merges one file of a manifest. Returns true | nil, message, whether it is bad.
local function merge_file(self, place, secret, wallet, file)
	local opened, message, bad = open_file(place, secret, wallet, file)
	if not opened then return nil, message, bad end
	while true do
		local page, failure, code = opened:next()
		if page == false then return true end
		if not page then return nil, failure, is_bad(code) end
		local ok
		ok, failure = merge_page(self, secret, page)
		if not ok then return nil, failure, false end
	end
end

local function report_progress(self)
	local now, progress = self.mono_ms(), self.progress
	if now - self.reported_ms < REPORT_MS then return end
	self.reported_ms = now
	self.log:info("restoring sealed snapshots", {
		files = progress.files, of = progress.files_total, records = progress.records, merged = progress.merged,
	})
end

-- ---- a wallet --------------------------------------------------------------------------------------

-- Merges the files of a manifest that have not been merged. Returns true | false: a file is bad | nil, message.
local function merge_manifest(self, place, secret, manifest, done)
	local progress, whole = self.progress, true
	for _, file in ipairs(manifest.files) do
		if not done[file.sequence] then
			local ok, message, bad = merge_file(self, place, secret, manifest.wallet, file)
			if not ok and not bad then return nil, message end
			done[file.sequence], progress.files = true, progress.files + 1
			if not ok then
				done[file.sequence], whole, progress.bad = "bad", false, progress.bad + 1
				self.log:error("a file of a sealed snapshot is not usable", {
					wallet = manifest.wallet, sequence = file.sequence, manifest = manifest.sequence, reason = message,
				})
			end
			report_progress(self)
		elseif done[file.sequence] == "bad" then
			whole = false
		end
	end
	return whole
end

-- Merges a wallet's newest state, and older ones until one is whole.
-- Returns the manifest of that one | false: none is whole | nil, message.
local function merge_wallet(self, place, secret, chosen, selected)
	local done, manifest = {}, chosen.manifest
	while manifest do
		local whole, message = merge_manifest(self, place, secret, manifest, done)
		if whole == nil then return nil, message end
		if whole then return manifest end
		local older
		older, message = selected:older(place, secret, chosen.listed, manifest)
		if older == nil then return nil, message end
		if older then
			self.log:warn("an older sealed snapshot is used", { wallet = older.wallet, sequence = older.sequence })
		end
		manifest = older
	end
	return false
end

-- ---- all of them -----------------------------------------------------------------------------------

local function finish(self, selected, newest_used_ms, whole)
	local progress = self.progress
	self.restored = {
		time = newest_used_ms, age_ms = math.max(0, self.wall_ms() - newest_used_ms), wallets = whole,
		records = progress.records, merged = progress.merged, rejected = progress.rejected, bad_files = progress.bad,
	}
	self.log:warn("restored from sealed snapshots", {
		wallets = whole, of = #selected.wallets, records = progress.records, merged = progress.merged,
		rejected = progress.rejected, bad_files = progress.bad, age_s = self.restored.age_ms // 1000,
	})
	self.audit:event("restored", {
		wallets = whole, of = #selected.wallets, records = progress.records, merged = progress.merged,
		rejected = progress.rejected, bad_files = progress.bad, data_time_ms = newest_used_ms,
	})
end

local function new_progress(selected)
	local total = 0
	for _, chosen in ipairs(selected.wallets) do total = total + #chosen.manifest.files end
	return { files = 0, files_total = total, records = 0, merged = 0, rejected = 0, bad = 0 }
end

-- Returns true | nil, message, what the chain knows of a newer state or nil.
local function restore(self, secret)
	local place = self.place(secret)
	local selected, message, anchored = selection.choose(place, secret, {
		retention_ms = self.retention_ms, skew_ms = self.skew_ms, allow_older = self.allow_older, log = self.log,
		newest_anchor = self.newest_anchor,
	})
	if not selected then return nil, message, anchored end
	if #selected.wallets == 0 then
		self.log:info("there is no sealed snapshot to restore")
		return true
	end
	self.progress, self.reported_ms = new_progress(selected), self.mono_ms()
	self.log:warn("restoring sealed snapshots: no member has a complete store", {
		wallets = #selected.wallets, files = self.progress.files_total,
	})
	local newest_used_ms, whole = 0, 0
	for _, chosen in ipairs(selected.wallets) do
		local manifest
		manifest, message = merge_wallet(self, place, secret, chosen, selected)
		if manifest == nil then return nil, message end
		if manifest then newest_used_ms, whole = math.max(newest_used_ms, manifest.time), whole + 1 end
	end
	if whole == 0 and not self.allow_older then return nil, "no sealed snapshot is whole" .. selection.ADVICE end
	finish(self, selected, newest_used_ms, whole)
	return true
end

--- Notes a secret that comes into use. Only a store that is empty then is restored.
function Restore:begin(secret)
	if self.secret == secret then return end
	self.secret = secret
	self.wanted = self.store:sequence() == 0 and not self.is_fresh()
end

--- Restores what there is, unless this has been done or the store was not empty; yields. To be called when no member
-- with a complete store was found, and before this node counts as having what the cluster holds.
-- @return true | nil, message: not now, or not without the operator
function Restore:run(secret)
	self:begin(secret)
	if not self.wanted then return true end
	local ok, message, anchored = restore(self, secret)
	self.progress, self.anchored = nil, anchored
	if not ok then
		self.failure = message
		self.log:limited("restore", 60, "error", "sealed snapshots are not restored", { reason = message })
		return nil, "sealed snapshots are not restored: " .. message
	end
	self.failure, self.wanted = nil, false
	return true
end

--- What GET /status shows.
function Restore:status()
	local progress, restored = self.progress, self.restored
	return {
		restoring = progress and { files = progress.files, of = progress.files_total, records = progress.records },
		failed = self.failure ~= nil, failure = self.failure, older_than_anchored = self.anchored,
		restored = restored and {
			data_time_ms = restored.time, data_age_s = restored.age_ms // 1000, wallets = restored.wallets,
			records = restored.records, merged = restored.merged, rejected = restored.rejected, bad_files = restored.bad_files,
		},
	}
end

--- @param deps place (as for kms.snapshot.keeper); store; is_fresh (function -> whether this process made the secret in
--   use: then nothing is sealed under it); goes_on (function(secret)); log, mono_ms, wall_ms; retention_ms
--   (TOMBSTONE_RETENTION_MS), skew_ms (MAX_CLOCK_SKEW_MS), allow_older (RESTORE_OLDER), newest_anchor (function -> the
--   newest anchor on chain | false: none counts | nil, message); audit (kms.audit)
-- @return restore
function M.new(deps)
	return setmetatable(needs.take(deps, "place store is_fresh goes_on log mono_ms wall_ms retention_ms skew_ms "
		.. "allow_older newest_anchor audit"), Restore)
end

return M
