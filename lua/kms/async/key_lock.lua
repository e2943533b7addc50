--- A FIFO lock per key.

local finally = require("kms.async.finally")
local loop = require("kms.base.loop")
local wakeup = require("kms.async.wakeup")

local M = {}

local KeyLock = {}
KeyLock.__index = KeyLock

--- Locks a key; yields while another holds it. A caller that got the lock must call unlock(), also
-- after an error: use with() for a single call.
-- @return true | false at once: too many wait for this key
function KeyLock:lock(key)
	local queue = self.queues[key]
	if not queue then
		self.queues[key] = { first = 1, last = 0 }
		return true
	end
	if queue.last - queue.first + 1 >= self.max_waiting then return false end
	local waiter = wakeup.new()
	queue.last = queue.last + 1
	queue[queue.last] = waiter
	return waiter:wait()
end

--- Unlocks a key. The next in its queue resumes in the loop's next iteration.
function KeyLock:unlock(key)
	local queue = self.queues[key]
	local waiter = queue[queue.first]
	if not waiter then
		self.queues[key] = nil
		return
	end
	queue[queue.first] = nil
	queue.first = queue.first + 1
	loop.defer(function() waiter:wake() end)
end

--- Calls fn(...) with the key locked, and unlocks it when fn returns or throws.
-- @return true, what fn returned | false: as lock(), fn was not called
function KeyLock:with(key, fn, ...)
	if not self:lock(key) then return false end
	return true, finally.call(self.unlock, self, key, fn, ...)
end

--- @param max_waiting  callers that may wait for one key
function M.new(max_waiting)
	return setmetatable({ queues = {}, max_waiting = max_waiting }, KeyLock)
end

return M
