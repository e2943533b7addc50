--- Several waits at once: a function for each element of a list, in coroutines.

local loop = require("kms.base.loop")

local M = {}

--- Calls fn(element) for each element and waits until all have returned. Needs a coroutine.
-- An error in one is reported by kms.base.loop and leaves its place nil.
-- @param at_once how many run at the same time
-- @return what each returned (one value), at the element's place
function M.map(list, at_once, fn)
	local results, at, waiter = {}, 0, loop.waiter()
	local workers = math.min(at_once, #list)
	local left = workers
	local function work()
		while at < #list do
			at = at + 1
			local place = at
			local ok, value = loop.try(fn, list[place])
			if ok then results[place] = value end
		end
		left = left - 1
		if left == 0 then waiter:wake() end
	end
	for _ = 1, workers do loop.spawn(work) end
	if workers > 0 then waiter:wait() end
	return results
end

return M
