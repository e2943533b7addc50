--- One timer for all that a node does every few seconds or less often: what is due at the same moment takes one wake-up
-- of the loop. A wake-up of an idle process costs 50 to 150 us, whatever it does then: its memory is in no cache any
-- more. Periods count from one moment, so that those of 10 and of 60 seconds meet. It is a full minute by this
-- machine's clock as it was then: members wake at the same moments, and their messages come while each is awake. It is
-- no full hour, since a period of an hour could then end just after a start.

local uv = require("luv")
local loop = require("kms.base.loop")

local M = {}

local Entry = {}
Entry.__index = Entry

--- Seconds between two looks at what can wait so long. An idle node compares itself with its members as often
-- (DATA_SYNC_INTERVAL_SECONDS), so that it wakes once for both.
M.SECONDS = 10

local MINUTE_MS = 60000
local TWO_BEATS_MS = 2 * M.SECONDS * 1000 -- idle members have contact at every second beat (kms.sync.contact)

local entries, timer, origin_ms = {}, nil, nil

--- The last full minute, by the loop's clock.
-- @param loop_ms now by the loop's clock; @param wall_s, wall_us now in Unix time
function M.last_minute_ms(loop_ms, wall_s, wall_us)
	return loop_ms - (wall_s * 1000 + wall_us // 1000) % MINUTE_MS
end

-- The first multiple of a period after `now`.
local function next_due(period_ms, now)
	return origin_ms + ((now - origin_ms) // period_ms + 1) * period_ms
end

local on_timer

-- Starts the timer for what is due first.
local function arm()
	local first = math.huge
	for _, entry in ipairs(entries) do first = math.min(first, entry.due_ms) end
	timer:start(math.max(0, first - uv.now()), 0, on_timer)
end

local function beat()
	local now, due = uv.now(), {}
	for _, entry in ipairs(entries) do
		if entry.due_ms <= now then due[#due + 1] = entry end
	end
	for _, entry in ipairs(due) do
		local due_ms = entry.due_ms
		entry.due_ms = next_due(entry.period_ms, now)
		if not entry.closed then loop.try(entry.fn, due_ms) end
	end
	if timer then arm() end
end

on_timer = loop.guard(beat)

--- Ends it, for loop.close.
function Entry:close()
	self.closed = true
	for i, entry in ipairs(entries) do
		if entry == self then table.remove(entries, i) end
	end
	if #entries > 0 then return end
	loop.close(timer)
	timer = nil
end

--- Whether it has ended.
function Entry:is_closing()
	return self.closed
end

--- Calls fn(due_ms) every so many seconds; once for all that was missed while the loop was busy.
-- @param seconds  to the millisecond
-- @param fn  its argument: when it was due, by the loop's clock in milliseconds
-- @return handle for loop.close
function M.every(seconds, fn)
	if not origin_ms then
		uv.update_time()
		origin_ms = M.last_minute_ms(uv.now(), uv.gettimeofday())
	end
	local entry = setmetatable({ period_ms = math.max(1, math.floor(seconds * 1000)), fn = fn, closed = false }, Entry)
	entry.due_ms = next_due(entry.period_ms, uv.now())
	entries[#entries + 1] = entry
	timer = timer or assert(uv.new_timer())
	arm()
	return entry
end

--- Shortens the time until something that recurs, so that it ends at a beat at which members have contact: once, since
-- the next such time begins there. Times under a minute, and those that are no multiple of two beats, stay as they are.
-- @param ms  milliseconds from now
-- @return milliseconds, at most 20 s less
function M.shortened_ms(ms)
	if not origin_ms or ms < MINUTE_MS or ms % TWO_BEATS_MS ~= 0 then return ms end
	return ms - (uv.now() - origin_ms) % TWO_BEATS_MS
end

return M
