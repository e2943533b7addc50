--- A gate that lets so many through at the same time; others wait in a bounded queue, in the
-- order in which they came, and not for ever.

local loop = require("kms.loop")

local M = {}

local Gate = {}
Gate.__index = Gate

-- The first who still waits, taken out of the queue; nil where nobody does.
local function next_waiting(self)
	while self.first <= self.last do
		local entry = self.queue[self.first]
		self.queue[self.first] = nil
		self.first = self.first + 1
		if not entry.gone then return entry end
	end
	return nil
end

--- Goes in; yields where it has to wait. Whoever got in calls leave, whatever happened meanwhile.
-- @return whether it is in: false where too many wait, or it has waited too long
function Gate:enter()
	if self.inside < self.at_once then
		self.inside = self.inside + 1
		return true
	end
	if self.waiting >= self.max_waiting then return false end
	local entry = { waiter = loop.waiter() }
	self.last, self.waiting = self.last + 1, self.waiting + 1
	self.queue[self.last] = entry
	if entry.waiter:wait(self.wait_ms) or entry.admitted then return true end
	entry.gone, self.waiting = true, self.waiting - 1
	return false
end

--- Goes out; the place is the next one's, who goes on in the loop's next iteration.
function Gate:leave()
	local entry = next_waiting(self)
	if not entry then
		self.inside = self.inside - 1
		return
	end
	entry.admitted, self.waiting = true, self.waiting - 1
	loop.defer(function() entry.waiter:wake() end)
end

--- @param limits at_once, max_waiting, wait_ms (the longest wait)
function M.new(limits)
	return setmetatable({
		at_once = limits.at_once, max_waiting = limits.max_waiting, wait_ms = limits.wait_ms,
		inside = 0, waiting = 0, queue = {}, first = 1, last = 0,
	}, Gate)
end

return M
