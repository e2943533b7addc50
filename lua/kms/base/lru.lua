--- A map of bounded size: the least recently used entry is evicted first, and entries expire. The
-- caller passes the time, in a unit of its choice.

local M = {}

local LRU = {}
LRU.__index = LRU

local function unlink(entry)
	entry.older.newer = entry.newer
	entry.newer.older = entry.older
end

local function link_newest(self, entry)
	local ring = self.ring
	entry.older, entry.newer = ring.older, ring
	ring.older.newer = entry
	ring.older = entry
end

--- Gets a value, which counts as a use.
-- @param now  time, in the unit of put's `expires`
-- @return value | nil: absent or expired
function LRU:get(key, now)
	local entry = self.entries[key]
	if not entry then return nil end
	if now >= entry.expires then
		self:remove(key)
		return nil
	end
	if self.ring.older ~= entry then
		unlink(entry)
		link_newest(self, entry)
	end
	return entry.value
end

--- Stores a value until the time `expires`; evicts the least recently used entry where the map is full.
function LRU:put(key, value, expires)
	if self.entries[key] then self:remove(key) end
	if self.size >= self.max then self:remove(self.ring.newer.key) end
	local entry = { key = key, value = value, expires = expires }
	self.entries[key] = entry
	link_newest(self, entry)
	self.size = self.size + 1
end

--- Removes a key; an absent key is fine.
function LRU:remove(key)
	local entry = self.entries[key]
	if not entry then return end
	self.entries[key] = nil
	unlink(entry)
	self.size = self.size - 1
end

--- Removes all entries.
function LRU:clear()
	local ring = {}
	ring.older, ring.newer = ring, ring
	self.entries, self.ring, self.size = {}, ring, 0
end

--- @param max  most entries, 1 or more
function M.new(max)
	if math.type(max) ~= "integer" or max < 1 then error("max must be an integer of 1 or more", 2) end
	local self = setmetatable({ max = max }, LRU)
	self:clear()
	return self
end

return M
