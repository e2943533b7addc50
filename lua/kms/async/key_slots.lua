--- At most `max` holders, one per key; take() never waits.

local M = {}

local KeySlots = {}
KeySlots.__index = KeySlots

--- Takes the slot of a key. It may be held beyond the running call, so its holder gets what releases it.
-- @return function that releases the slot (later calls do nothing) | nil: the key has one, or all are taken
function KeySlots:take(key)
	if self.taken[key] or self.count >= self.max then return nil end
	self.taken[key], self.count = true, self.count + 1
	local held = true
	return function()
		if not held then return end
		held = false
		self.taken[key], self.count = nil, self.count - 1
	end
end

--- @param max  holders of all keys together
-- @return slots; field `count` is the number taken
function M.new(max)
	return setmetatable({ max = max, taken = {}, count = 0 }, KeySlots)
end

return M
