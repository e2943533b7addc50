--- Counters with labels, bounded in number: what kms.count adds up to and, apart from it so that
-- neither takes the other's room or name, what the node counts of policies.

local M = {}

local Counters = {}
Counters.__index = Counters

local MAX = 1000 -- different names and labels; beyond, all count as one

local function key_of(name, labels)
	local parts = {}
	for label, value in pairs(labels) do parts[#parts + 1] = ("%s=%q"):format(label, tostring(value)) end
	table.sort(parts)
	return name .. "{" .. table.concat(parts, ",") .. "}"
end

--- Adds one.
-- @param labels table of name -> text, number or boolean
function Counters:add(name, labels)
	local key = key_of(name, labels)
	local entry = self.entries[key]
	if not entry then
		if self.size >= MAX then
			self.overflow = self.overflow + 1
			return
		end
		entry = { name = name, labels = labels, value = 0 }
		self.entries[key], self.size = entry, self.size + 1
	end
	entry.value = entry.value + 1
end

--- All of them, sorted: list of { name, labels, value }; and how many additions found no room.
function Counters:list()
	local keys, list = {}, {}
	for key in pairs(self.entries) do keys[#keys + 1] = key end
	table.sort(keys)
	for i, key in ipairs(keys) do list[i] = self.entries[key] end
	return list, self.overflow
end

function M.new()
	return setmetatable({ entries = {}, size = 0, overflow = 0 }, Counters)
end

return M
