--- Slots: so many at the same time, and of each key one. Nobody waits for one.

local M = {}

local Slots = {}
Slots.__index = Slots

--- Takes the slot of a key. Whoever got it calls give, once, whatever happened meanwhile.
-- @return whether there was one
function Slots:take(key)
	if self.taken[key] or self.count >= self.max then return false end
	self.taken[key], self.count = true, self.count + 1
	return true
end

--- Gives it back.
function Slots:give(key)
	self.taken[key], self.count = nil, self.count - 1
end

--- @param max  of all keys together
function M.new(max)
	return setmetatable({ max = max, taken = {}, count = 0 }, Slots)
end

return M
