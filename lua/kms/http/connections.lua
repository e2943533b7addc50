--- The connections of a server by phase (what they wait for). Each phase has one timeout, so its list
-- is in the order in which connections time out: entering, leaving and finding the next one to
-- time out take the same time with ten connections as with ten thousand.

local native = require("kms_native")

local M = {}

local Connections = {}
Connections.__index = Connections

local function unlink(conn)
	conn.before.after, conn.after.before = conn.after, conn.before
end

--- Moves a connection to a phase; its time there starts now.
function Connections:enter(conn, phase)
	local list, before = self.lists[phase], conn.before
	if before then
		local after = conn.after
		before.after, after.before = after, before
	else
		self.count = self.count + 1
	end
	local last = list.before
	conn.phase, conn.since, conn.before, conn.after = phase, native.mono_ms(), last, list
	last.after, list.before = conn, conn
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
	for phase, timeout_ms in pairs(self.timeouts_ms) do
		local list = self.lists[phase]
		local conn = list.after
		while conn ~= list and now - conn.since >= timeout_ms do
			late(conn, phase)
			if list.after == conn then break end
			conn = list.after
		end
	end
end

--- The connection that entered one of these phases first, or nil.
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
-- @return connections; its field `count` is their number
function M.new(names, timeouts_ms)
	local self = setmetatable({ lists = {}, timeouts_ms = timeouts_ms, count = 0 }, Connections)
	for _, name in ipairs(names) do
		local list = {}
		list.before, list.after = list, list
		self.lists[name] = list
	end
	return self
end

return M
