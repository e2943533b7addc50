--- A semaphore: at most `at_once` coroutines at a time. The others wait in a bounded FIFO queue,
-- each for at most `wait_ms`.

local finally = require("kms.async.finally")
local loop = require("kms.base.loop")
local wakeup = require("kms.async.wakeup")

local M = {}

local Semaphore = {}
Semaphore.__index = Semaphore

local CHECK_MS = 100 -- interval at which the queue is checked for entries that have waited too long

-- Removes and returns the first entry of the queue; nil when the queue is empty.
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

-- One timer serves the whole queue, since entries time out in the order in which they came.
local function drop_late(self)
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

--- Takes a slot; yields while all are taken. A caller that got one must call leave(), also after an
-- error: use with() where the slot is held for one call.
-- @return true | false: too many wait, or the caller waited for wait_ms
function Semaphore:enter()
	if self.running < self.at_once then
		self.running = self.running + 1
		return true
	end
	if self.last - self.first + 1 >= self.max_waiting then return false end
	local entry = { waiter = wakeup.new(), until_ms = loop.now() + self.wait_ms }
	self.last = self.last + 1
	self.queue[self.last] = entry
	self.timer = self.timer or loop.every(CHECK_MS, function() drop_late(self) end)
	entry.waiter:wait()
	return not entry.late
end

--- Gives a slot back. The first in the queue gets it and resumes in the loop's next iteration.
function Semaphore:leave()
	local entry = take_first(self)
	if not entry then
		self.running = self.running - 1
		return
	end
	self.admitted[#self.admitted + 1] = entry
	if #self.admitted == 1 then loop.defer(self.wake_admitted) end
end

--- Calls fn(...) with a slot, which is given back when fn returns or throws.
-- @return true, what fn returned | false: as enter(), fn was not called
function Semaphore:with(fn, ...)
	if not self:enter() then return false end
	return true, finally.call(self.leave, self, nil, fn, ...)
end

--- @param limits  at_once: slots; max_waiting: longest queue; wait_ms: longest wait, to a tenth of a second
-- @return semaphore; its field `running` is the number of slots taken
function M.new(limits)
	local self = setmetatable({
		at_once = limits.at_once, max_waiting = limits.max_waiting, wait_ms = limits.wait_ms,
		running = 0, queue = {}, first = 1, last = 0, admitted = {},
	}, Semaphore)
	self.wake_admitted = function() wake_admitted(self) end
	return self
end

return M
