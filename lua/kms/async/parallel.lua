--- Calls a function for each element of a list, several at a time.

local loop = require("kms.base.loop")
local wakeup = require("kms.async.wakeup")

local M = {}

--- Calls fn(element) for each element in coroutines and waits until all have ended. Needs a coroutine.
-- An error in one call is reported by kms.base.loop, and its result is nil.
-- @param list  elements
-- @param at_once  most calls that run at the same time
-- @return table of the first value that each call returned, by the element's index
function M.map(list, at_once, fn)
	local results, last, done = {}, 0, wakeup.new()
	local workers = math.min(at_once, #list)
	local left = workers
	local function work()
		while last < #list do
			last = last + 1
			local index = last
			local ok, value = loop.try(fn, list[index])
			if ok then results[index] = value end
		end
		left = left - 1
		if left == 0 then done:wake() end
	end
	for _ = 1, workers do loop.spawn(work) end
	if workers > 0 then done:wait() end
	return results
end

return M
