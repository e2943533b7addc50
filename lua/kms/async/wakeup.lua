--- A wake-up call: one coroutine waits for it, others give it. A call that comes before the wait is
-- remembered and ends that wait at once.

local loop = require("kms.base.loop")

local M = {}

local Wakeup = {}
Wakeup.__index = Wakeup

local function finish(self, woken)
	local co = self.co
	self.co = nil
	loop.close(self.timer)
	self.timer = nil
	loop.resume(co, woken)
end

--- Suspends the running coroutine until wake() or the deadline. One coroutine can wait at a time.
-- @param timeout_ms  nil: no deadline
-- @return true: woken | false: the deadline has passed
function Wakeup:wait(timeout_ms)
	local co, is_main = coroutine.running()
	if is_main or self.co then error("wait needs a coroutine, one at a time", 2) end
	if self.woken then
		self.woken = nil
		return true
	end
	self.co = co
	self.timer = timeout_ms and loop.after(timeout_ms, function() finish(self, false) end)
	return coroutine.yield()
end

--- Resumes the waiting coroutine at once, before this returns; where none waits, ends the next wait.
function Wakeup:wake()
	if self.co then return finish(self, true) end
	self.woken = true
end

--- A wake-up call that has not been given yet.
function M.new()
	return setmetatable({}, Wakeup)
end

return M
