--- Sealed snapshots of this node, made of its other parts: what writes them, and what restores them.

local anchors = require("kms.snapshot.anchors")
local folder = require("kms.snapshot.folder")
local keeper = require("kms.snapshot.keeper")
local odyn = require("kms.snapshot.odyn")
local restore = require("kms.snapshot.restore")
local s3 = require("kms.snapshot.s3")

local M = {}

local Snapshots = {}
Snapshots.__index = Snapshots

local SECOND_MS = 1000

local function anchor_part(of)
	local status = of:status()
	status.last_failure = nil
	return status
end

--- What GET /status shows.
function Snapshots:status()
	local saved, restored = self.keeper:status(), self.restore:status()
	return {
		state = restored.restoring and "restoring" or restored.failed and "not restored" or saved.state,
		saved_at_ms = saved.saved_at_ms, unsaved_s = saved.unsaved_s, failures = saved.failures,
		restoring = restored.restoring, restored = restored.restored, older_than_anchored = restored.older_than_anchored,
		anchor = self.anchors and anchor_part(self.anchors),
	}
end

--- Writes or anchors what is due, in the background. To be called every few seconds.
function Snapshots:tick()
	self.keeper:tick()
	if self.anchors then self.anchors:tick() end
end

--- What the control socket shows beside that.
function Snapshots:details()
	return {
		place = self.description, failure = self.restore:status().failure or self.keeper:status().last_failure,
		anchor_failure = self.anchors and self.anchors:status().last_failure,
	}
end

--- The place of the secret in use. @return place, secret | nil: there is no secret
function Snapshots:current_place()
	local secret = self.secrets.current
	if not secret then return nil end
	return self.place(secret), secret
end

-- The place that SNAPSHOT names: function(secret) | nil, message.
local function open_place(parts)
	local text = parts.config.SNAPSHOT
	if text == "odyn" then return odyn.open(parts.tee.calls) end -- kms.config.rules: only with TEE=odyn
	if not text:find("^s3://") then return folder.open(text) end
	return s3.open(text, {
		env = os.getenv, wall_ms = parts.wall_ms, proxy_of = function(url) return parts.outbound:proxy_of(url) end,
	})
end

-- Anchors on chain, where SNAPSHOT_ANCHOR is true (kms.config.rules: with CHAIN=evm only).
local function new_anchors(self, parts, goes_on)
	if not parts.config.SNAPSHOT_ANCHOR then return nil end
	return anchors.new({
		chain = parts.chain, tee = parts.tee, secrets = parts.secrets, saved = function() return self.keeper.saved end,
		goes_on = goes_on, log = parts.log, mono_ms = parts.mono_ms, wall_ms = parts.wall_ms,
		every_s = parts.config.SNAPSHOT_ANCHOR_SECONDS,
	})
end

--- Adds parts.snapshots { keeper, restore, anchors (or nil) } where SNAPSHOT names a place.
-- @param parts of kms.node.assemble
-- @return true | nil, message
function M.add(parts)
	local config = parts.config
	if config.SNAPSHOT == "off" then return true end
	local place, message = open_place(parts)
	if not place then return nil, message end
	local self = setmetatable({ description = config.SNAPSHOT, place = place, secrets = parts.secrets }, Snapshots)
	self.keeper = keeper.new({
		place = place, store = parts.store, secrets = parts.secrets, wallet = function() return parts.tee.address end,
		is_complete = function() return parts.readiness:is_complete() end, log = parts.log, mono_ms = parts.mono_ms,
		is_member = function(wallet) return parts.peers:get(wallet) ~= nil end, wall_ms = parts.wall_ms,
		beside = function() return parts.recovery:files() end,
		keep = config.SNAPSHOT_KEEP, interval_ms = config.SNAPSHOT_INTERVAL_SECONDS * SECOND_MS,
		retention_ms = config.TOMBSTONE_RETENTION_MS, skew_ms = config.MAX_CLOCK_SKEW_MS,
	})
	local function goes_on(secret) return parts.readiness:is_verified() and parts.secrets.current == secret end
	self.anchors = new_anchors(self, parts, goes_on)
	self.restore = restore.new({
		place = place, store = parts.store, is_fresh = function() return parts.secrets:is_fresh() end, goes_on = goes_on,
		newest_anchor = function()
			if not self.anchors then return false end
			return self.anchors:newest()
		end,
		log = parts.log, mono_ms = parts.mono_ms, wall_ms = parts.wall_ms, retention_ms = config.TOMBSTONE_RETENTION_MS,
		skew_ms = config.MAX_CLOCK_SKEW_MS, allow_older = config.RESTORE_OLDER, audit = parts.audit,
	})
	parts.snapshots = self
	return true
end

return M
