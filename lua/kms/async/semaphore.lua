--- A gate that lets so many through at the same time; others wait in a bounded queue, in the
-- order in which they came, and not for ever.

local loop = require("kms.base.loop")

local M = {}

local Gate = {}
Gate.__index = Gate

local LOOK_MS = 100 -- between two looks for who has waited too long

-- The first in the queue, taken out; nil where nobody waits.
local function take_first(self)
	if self.first > self.last then return nil end
	local entry = self.queue[self.first]
	self.queue[self.first] = nil
	self.first = self.first + 1
	return entry
end

local function wake_admitted(self)
	local list = self.admitted
	self.admitted = {}
	for _, entry in ipairs(list) do loop.try(entry.waiter.wake, entry.waiter) end
end

-- One timer for the whole queue: who came first is the first whose time is over.
local function look(self)
	local now = loop.now()
	while self.first <= self.last and self.queue[self.first].until_ms <= now do
		local entry = take_first(self)
		entry.late = true
		loop.try(entry.waiter.wake, entry.waiter)
	end
	if self.first > self.last then
		loop.close(self.timer)
		self.timer = nil
	end
end

--- Goes in; yields where it has to wait. Whoever got in calls leave, whatever happened meanwhile.
-- @return whether it is in: false where too many wait, or it has waited too long
function Gate:enter()
	if self.inside < self.at_once then
		self.inside = self.inside + 1
		return true
	end
	if self.last - self.first + 1 >= self.max_waiting then return false end
	local entry = { waiter = loop.waiter(), until_ms = loop.now() + self.wait_ms }
	self.last = self.last + 1
	self.queue[self.last] = entry
	self.timer = self.timer or loop.every(LOOK_MS, function() look(self) end)
	entry.waiter:wait()
	return not entry.late
end

--- Goes out; the place is the next one's, who goes on in the loop's next iteration.
function Gate:leave()
	local entry = take_first(self)
	if not entry then
		self.inside = self.inside - 1
		return
	end
	self.admitted[#self.admitted + 1] = entry
	if #self.admitted == 1 then loop.defer(self.wake_admitted) end
end

--- @param limits at_once, max_waiting, wait_ms (the longest wait, give or take a tenth of a second)
function M.new(limits)
	local self = setmetatable({
		at_once = limits.at_once, max_waiting = limits.max_waiting, wait_ms = limits.wait_ms,
		inside = 0, queue = {}, first = 1, last = 0, admitted = {},
	}, Gate)
	self.wake_admitted = function() wake_admitted(self) end
	return self
end

return M
