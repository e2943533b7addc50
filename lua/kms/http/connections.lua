--- The connections of a server by phase (what they wait for). Each phase has one timeout, so its list
-- is in the order in which connections time out: entering, leaving and finding the next one to
-- time out take the same time with ten connections as with ten thousand. The timer runs only when one can time out:
-- no request touches it, and without connections nothing wakes the loop.

local native = require("kms_native")

local M = {}

local SWEEP_MS = 250 -- shortest time between two sweeps: how late a timeout may be
local NEVER = math.huge

local Connections = {}
Connections.__index = Connections

local function unlink(conn)
	conn.before.after, conn.after.before = conn.after, conn.before
end

--- Moves a connection to a phase; its time there starts now. No clock is read for a phase without a timeout.
function Connections:enter(conn, phase)
	local list, before = self.lists[phase], conn.before
	if before then
		local after = conn.after
		before.after, after.before = after, before
	else
		self.count = self.count + 1
	end
	local last, look_ms = list.before, list.look_ms
	conn.phase, conn.before, conn.after = phase, last, list
	last.after, list.before = conn, conn
	if look_ms == NEVER then return end
	local now = native.mono_ms()
	conn.since = now
	if now + look_ms < self.sweep_ms then self:sweep_by(now, now + look_ms) end
end

--- Has the sweep run at a time, or soon after it.
function Connections:sweep_by(now, due_ms)
	self.sweep_ms = math.max(due_ms, now + SWEEP_MS)
	self.sweep_in(self.sweep_ms - now)
end

-- Has the sweep run again when the next connection can time out; not at all when none can.
local function sweep_later(self, now)
	local due_ms = NEVER
	for _, list in pairs(self.lists) do
		local first = list.after
		-- Of a phase that is looked at more often than its timeout: each time.
		local since = list.look_ms < list.timeout_ms and now or first.since
		if first ~= list then due_ms = math.min(due_ms, since + list.look_ms) end
	end
	self.sweep_ms = NEVER
	if due_ms < NEVER then self:sweep_by(now, due_ms) end
end

--- Removes a connection.
function Connections:leave(conn)
	if not conn.phase then return end
	unlink(conn)
	conn.phase, conn.before, conn.after = nil, nil, nil
	self.count = self.count - 1
end

--- Calls late(conn, phase) for each connection that has timed out. late must move or close it.
-- @param now  monotonic time in milliseconds
function Connections:sweep(now, late)
	for phase, list in pairs(self.lists) do
		local conn = list.after
		while conn ~= list and now - conn.since >= list.timeout_ms do
			late(conn, phase)
			if list.after == conn then break end
			conn = list.after
		end
	end
	sweep_later(self, now)
end

--- The connection that entered one of these phases first, or nil. Each of them has a timeout.
function Connections:oldest(phases)
	local oldest
	for _, phase in ipairs(phases) do
		local list = self.lists[phase]
		local first = list.after
		if first ~= list and (not oldest or first.since < oldest.since) then oldest = first end
	end
	return oldest
end

--- Calls fn(conn) for each connection of these phases; fn may close it.
function Connections:each(phases, fn)
	for _, phase in ipairs(phases) do
		local list = self.lists[phase]
		local conn = list.after
		while conn ~= list do
			local after = conn.after
			fn(conn)
			conn = after
		end
	end
end

--- @param names  list of all phases
-- @param timeouts_ms  phase = milliseconds; a phase without one never times out
-- @param looks_ms  phase = milliseconds after which sweep() has to run although none can have timed out; or nil
-- @param sweep_in  function(ms): has sweep() called after that time, instead of the time given before; nil where no
--   phase has a timeout
-- @return connections; its field `count` is their number
function M.new(names, timeouts_ms, looks_ms, sweep_in)
	local self = setmetatable({ lists = {}, count = 0, sweep_ms = NEVER, sweep_in = sweep_in }, Connections)
	for _, name in ipairs(names) do
		local timeout_ms = timeouts_ms[name] or NEVER
		local list = { timeout_ms = timeout_ms, look_ms = math.min(timeout_ms, looks_ms and looks_ms[name] or NEVER) }
		list.before, list.after = list, list
		self.lists[name] = list
	end
	return self
end

return M
