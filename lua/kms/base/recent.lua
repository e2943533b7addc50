--- A map of bounded size that keeps what was used last, for what each request looks up: a look-up keeps no order of
-- uses and touches nothing but its value. Of its two tables the younger one has what was used since the older one was
-- full.

local M = {}

local Recent = {}
Recent.__index = Recent

--- Gets a value, which counts as a use.
-- @return value | nil: absent
function Recent:get(key)
	local value = self.young[key]
	if value ~= nil then return value end
	value = self.old[key]
	if value ~= nil then self:put(key, value) end
	return value
end

--- Stores a value, which counts as a use. Where the younger table is full, what only the older one has is forgotten.
function Recent:put(key, value)
	if self.young[key] == nil then
		if self.count == self.least then self.young, self.old, self.count = {}, self.young, 0 end
		self.count = self.count + 1
	end
	self.young[key] = value
end

--- Removes a key; an absent key is fine.
function Recent:remove(key)
	if self.young[key] ~= nil then self.count = self.count - 1 end
	self.young[key], self.old[key] = nil, nil
end

--- @param least  how many entries are kept at least, those that were used last: 1 or more; twice as many at most
function M.new(least)
	if math.type(least) ~= "integer" or least < 1 then error("least must be an integer of 1 or more", 2) end
	return setmetatable({ young = {}, old = {}, count = 0, least = least }, Recent)
end

return M
