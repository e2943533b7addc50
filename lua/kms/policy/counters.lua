--- A bounded set of counters with labels. kms.count of the policies has one, and the node's own counters about
-- policies another, so that neither uses up the other's series or names.

local M = {}

local Counters = {}
Counters.__index = Counters

local MAX = 1000 -- different names and labels; further ones are only counted as dropped

local function key_of(name, labels)
	local parts = {}
	for label, value in pairs(labels) do parts[#parts + 1] = ("%s=%q"):format(label, tostring(value)) end
	table.sort(parts)
	return name .. "{" .. table.concat(parts, ",") .. "}"
end

--- Adds one to a counter.
-- @param name of the counter
-- @param labels table: name -> text, number or boolean
function Counters:add(name, labels)
	local key = key_of(name, labels)
	local entry = self.entries[key]
	if not entry then
		if self.size >= MAX then
			self.dropped = self.dropped + 1
			return
		end
		entry = { name = name, labels = labels, value = 0 }
		self.entries[key], self.size = entry, self.size + 1
	end
	entry.value = entry.value + 1
end

--- All counters, sorted.
-- @return list of { name, labels, value }, number of additions that were dropped
function Counters:list()
	local keys, list = {}, {}
	for key in pairs(self.entries) do keys[#keys + 1] = key end
	table.sort(keys)
	for i, key in ipairs(keys) do list[i] = self.entries[key] end
	return list, self.dropped
end

--- @return an empty set of counters
function M.new()
	return setmetatable({ entries = {}, size = 0, dropped = 0 }, Counters)
end

return M
