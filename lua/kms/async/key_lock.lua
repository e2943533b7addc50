--- Turns: of each key one coroutine at a time, the others in the order in which they came.

local loop = require("kms.base.loop")

local M = {}

local Turns = {}
Turns.__index = Turns

--- Waits for the key's turn; yields. Whoever got it calls give, whatever happened meanwhile.
-- @return whether it is the caller's turn now: false at once where too many wait already
function Turns:take(key)
	local queue = self.queues[key]
	if not queue then
		self.queues[key] = { first = 1, last = 0 }
		return true
	end
	if queue.last - queue.first + 1 >= self.max_waiting then return false end
	local waiter = loop.waiter()
	queue.last = queue.last + 1
	queue[queue.last] = waiter
	return waiter:wait()
end

--- Ends the turn; the next one begins in the loop's next iteration.
function Turns:give(key)
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

--- @param max_waiting  of one key, beside the one whose turn it is
function M.new(max_waiting)
	return setmetatable({ queues = {}, max_waiting = max_waiting }, Turns)
end

return M
