--- The timers of a node: ticks, expiry, pushes, repair, snapshots of existing nodes, sealed snapshots.

local beat = require("kms.base.beat")
local loop = require("kms.base.loop")

local M = {}

local SECOND_MS = 1000
local EXPIRE_AT_ONCE = 1000 -- records
local REPAIR_PART = 0.75 -- of an interval, after which members are compared if there was something to push
local SESSIONS_AT_ONCE = 256 -- that one call ends (kms_sessions_expire)
local SAVE_S = 10 -- between two looks for newly authorised wallets that are to be saved

-- Pushes changes to peers, and compares with one of them: at once where there is nothing to push, so that an idle
-- node wakes once for both, else when the pushes have had time to arrive. A peer that is compared with, or has just
-- answered, is not contacted besides: each gets at most one message an interval.
local function sync(parts, interval_s)
	local compared = false
	parts.pusher:tick(function()
		compared = true
		return parts.repair:tick()
	end)
	if compared then return end
	loop.after(math.floor(interval_s * SECOND_MS * REPAIR_PART), function() parts.repair:tick() end)
end

-- Does so at the interval that sync.lua in force sets.
local function sync_on_schedule(parts)
	local timer, timer_s
	local function schedule()
		local interval_s = parts.reloader.settings.interval
		if interval_s == timer_s then return end
		loop.close(timer)
		timer, timer_s = beat.every(interval_s, function() sync(parts, interval_s) end), interval_s
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

-- Drops some of the records and sessions whose time is over. Returns whether there may be more.
local function expire_some(parts)
	local sessions, records = parts.sessions:expire(parts.mono_ms()), parts.store:expire(parts.wall_ms(), EXPIRE_AT_ONCE)
	return sessions == SESSIONS_AT_ONCE or records == EXPIRE_AT_ONCE
end

-- Drops all of them, in parts between which the loop does other work.
local function expire(parts)
	if not expire_some(parts) then return end
	loop.spawn(function()
		repeat loop.pause() until not expire_some(parts)
	end)
end

-- Has the node stop serving when its view of the chain has become too old: a tick may hang. watch: { timer }. A timer
-- that counts from when the loop last looked at the time may come too early.
local function watch_view(watch, readiness)
	loop.close(watch.timer)
	local left_ms = readiness:view_left_ms()
	watch.timer = left_ms and loop.after(left_ms, function()
		readiness:watch()
		if readiness:view_left_ms() > 0 then watch_view(watch, readiness) end
	end)
end

-- One tick, part by part: an error in one keeps the node neither from the others nor from its next tick.
-- Returns whether there is a next one.
local function tick(parts, watch, fail)
	local ok, fit = loop.try(is_fit, parts, fail)
	if ok and not fit then return false end
	loop.try(parts.readiness.tick, parts.readiness)
	loop.try(watch_view, watch, parts.readiness)
	loop.try(parts.recovery.tick, parts.recovery)
	return true
end

--- Starts them.
-- @param parts of kms.node.assemble
-- @param is_stopping function -> whether the node stops: then there are no more ticks
-- @param fail function(message): ends the process, which cannot be what it is told to be
function M.run(parts, is_stopping, fail)
	loop.spawn(function()
		local watch = {}
		while not is_stopping() and tick(parts, watch, fail) do
			loop.sleep(beat.shortened_ms(parts.readiness:interval_ms()))
		end
	end)
	beat.every(beat.SECONDS, function() expire(parts) end)
	beat.every(SAVE_S, function() loop.spawn(parts.remembered.save, parts.remembered) end)
	if parts.snapshots then beat.every(2, function() parts.snapshots:tick() end) end
	sync_on_schedule(parts)
	local compare_s = parts.config.SNAPSHOT_COMPARE_SECONDS
	if compare_s == 0 then return end
	beat.every(compare_s, function()
		if parts.readiness.ready then parts.existing:fetch_next(parts.secrets.current) end
	end)
end

return M
