--- The connections of a server by what they wait for. Every phase has one timeout, so its
-- connections stand in the order in which they run out: entering, leaving and finding the next
-- one to run out cost the same with ten connections and with ten thousand.

local M = {}

local Phases = {}
Phases.__index = Phases

local function unlink(conn)
	conn.before.after, conn.after.before = conn.after, conn.before
end

--- Moves a connection to a phase; its time there starts now.
function Phases:enter(conn, phase, now)
	if conn.phase then
		unlink(conn)
	else
		self.count = self.count + 1
	end
	local list = self.lists[phase]
	conn.phase, conn.since = phase, now
	conn.before, conn.after = list.before, list
	list.before.after, list.before = conn, conn
end

--- Takes a connection out.
function Phases:leave(conn)
	if not conn.phase then return end
	unlink(conn)
	conn.phase, conn.before, conn.after = nil, nil, nil
	self.count = self.count - 1
end

--- Calls late(conn, phase) for each connection whose phase has run out. late moves or closes it.
function Phases:sweep(now, late)
	for phase, timeout in pairs(self.timeouts) do
		local list = self.lists[phase]
		local conn = list.after
		while conn ~= list and now - conn.since >= timeout do
			late(conn, phase)
			if list.after == conn then break end
			conn = list.after
		end
	end
end

--- The connection that entered one of these phases first, or nil.
function Phases:oldest(phases)
	local oldest
	for _, phase in ipairs(phases) do
		local list = self.lists[phase]
		local first = list.after
		if first ~= list and (not oldest or first.since < oldest.since) then oldest = first end
	end
	return oldest
end

--- Calls fn(conn) for each connection of these phases; fn may close it.
function Phases:each(phases, fn)
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

--- @param names  every phase
-- @param timeouts  phase = milliseconds; a phase without one never runs out
function M.new(names, timeouts)
	local self = setmetatable({ lists = {}, timeouts = timeouts, count = 0 }, Phases)
	for _, name in ipairs(names) do
		local list = {}
		list.before, list.after = list, list
		self.lists[name] = list
	end
	return self
end

return M
