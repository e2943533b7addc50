--- The timers of a node: ticks, expiry, pushes, repair, snapshots of existing nodes, sealed snapshots.

local beat = require("kms.base.beat")
local loop = require("kms.base.loop")

local M = {}

local SECOND_MS = 1000
local EXPIRE_AT_ONCE = 1000 -- records
local REPAIR_PART = 0.75 -- of an interval, after which members are compared; kms.sync.push counts half of one
local SESSIONS_AT_ONCE = 256 -- that one call ends (kms_sessions_expire)
local SAVE_S = 6 -- between two looks whether newly authorised wallets are to be saved

-- Pushes changes to peers at the interval that sync.lua in force sets, and compares with one of them some time before
-- the next push: a peer that has just answered is not contacted, so each gets one message an interval.
local function push_on_schedule(parts)
	local timer, timer_ms
	local function schedule()
		local every_ms = math.floor(parts.reloader.settings.interval * SECOND_MS)
		if every_ms == timer_ms then return end
		loop.close(timer)
		timer, timer_ms = loop.every(every_ms, function()
			parts.pusher:tick()
			loop.after(math.floor(every_ms * REPAIR_PART), function() parts.repair:tick() end)
		end), every_ms
	end
	parts.reloader:on_change(schedule)
	schedule()
end

-- Whether the chain can do what the configuration asks for; calls fail(message) where it cannot.
local function is_fit(parts, fail)
	local anchors = parts.snapshots and parts.snapshots.anchors
	local ok, message = true, nil
	if anchors then ok, message = anchors:probe() end
	if not ok then fail(message) end
	return ok
end

--- Starts them.
-- @param parts of kms.node.assemble
-- @param is_stopping function -> whether the node stops: then there are no more ticks
-- @param fail function(message): ends the process, which cannot be what it is told to be
function M.run(parts, is_stopping, fail)
	loop.spawn(function()
		while not is_stopping() and is_fit(parts, fail) do
			parts.readiness:tick()
			parts.recovery:tick()
			loop.sleep(parts.readiness:interval_ms())
		end
	end)
	beat.every(beat.SECONDS, function()
		parts.readiness:watch()
		parts.store:expire(parts.wall_ms(), EXPIRE_AT_ONCE)
		while parts.sessions:expire(parts.mono_ms()) == SESSIONS_AT_ONCE do end
	end)
	beat.every(SAVE_S, function() loop.spawn(parts.remembered.save, parts.remembered) end)
	if parts.snapshots then beat.every(1, function() parts.snapshots:tick() end) end
	push_on_schedule(parts)
	local compare_s = parts.config.SNAPSHOT_COMPARE_SECONDS
	if compare_s == 0 then return end
	beat.every(compare_s, function()
		if parts.readiness.ready then parts.existing:fetch_next(parts.secrets.current) end
	end)
end

return M
