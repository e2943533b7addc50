--- What a cluster promises, checked on a simulated one: all members hold the same in the end, no acknowledged write
-- is lost while a member with its store still holds it, no delete comes back.

local records = require("spec.simulate.records")
local trace = require("spec.simulate.trace")

local M = {}

local Promises = {}
Promises.__index = Promises

--- A write was acknowledged.
-- @param name "application/key"
-- @param record as the node wrote it
function Promises:acknowledged(name, record)
	local list = self.writes[name] or {}
	self.writes[name] = list
	list[#list + 1] = record
	self.count = self.count + 1
end

-- Whether a record is a write, or a newer one: a write is stamped after everything that its node knew.
local function stands_for(record, write)
	if not record then return false end
	if record.updated_at_ms ~= write.updated_at_ms then return record.updated_at_ms > write.updated_at_ms end
	-- An expired or evicted record has lost its value.
	return not record.value or record.value >= (write.value or "")
end

-- Whether one of the nodes holds the write, or a newer one.
local function is_held(write, name, stores)
	for _, held in pairs(stores) do
		if stands_for(held[name], write) then return true end
	end
	return false
end

--- A node is about to lose its store: what no other node holds may be lost.
-- @param others nodes that keep theirs
function Promises:losing(others)
	local stores = {}
	for i, node in ipairs(others) do stores[i] = records.all(node.parts) end
	for name, list in pairs(self.writes) do
		for _, write in ipairs(list) do
			if not write.excused and not is_held(write, name, stores) then write.excused = true end
		end
	end
end

local function describe(record)
	if not record then return "nothing" end
	local parts = {}
	for wallet, counter in pairs(record.version) do parts[#parts + 1] = ("%s:%.0f"):format(wallet:sub(3, 6), counter) end
	table.sort(parts)
	return ("%s stamped %.0f {%s}%s"):format(
		record.tombstone and "tombstone" or record.stub and "stub" or "value", record.updated_at_ms,
		table.concat(parts, " "), record.value and " " .. record.value:sub(1, 8) or "")
end

-- Whether two nodes hold the same version: an evicted value is still the same version.
local function same(a, b)
	if not a or not b then return a == b end
	if a.updated_at_ms ~= b.updated_at_ms then return false end
	return a.stub or b.stub or (a.tombstone == b.tombstone and a.value == b.value)
end

local function names_of(stores, writes)
	local names, list = {}, {}
	for _, held in ipairs(stores) do
		for name in pairs(held) do names[name] = true end
	end
	for name in pairs(writes) do names[name] = true end
	for name in pairs(names) do list[#list + 1] = name end
	table.sort(list)
	return list
end

--- Checks the cluster, in which nothing is under way.
-- @return nil | what is broken, as text
function Promises:broken(nodes)
	local stores, wrong = {}, {}
	for i, node in ipairs(nodes) do
		if not node.parts.readiness.ready then
			wrong[#wrong + 1] = ("node %d does not serve: %s"):format(i, node.parts.readiness.reason)
		end
		stores[i] = records.all(node.parts)
	end
	for _, name in ipairs(names_of(stores, self.writes)) do
		for i, held in ipairs(stores) do trace.note("%s on %d: %s", name, i, describe(held[name])) end
		for i = 2, #stores do
			if not same(stores[1][name], stores[i][name]) then
				wrong[#wrong + 1] = ("divergent: %s: node 1 has %s, node %d has %s"):format(name, describe(stores[1][name]), i,
					describe(stores[i][name]))
			end
		end
		for _, write in ipairs(self.writes[name] or {}) do
			local held = stores[1][name]
			if not write.excused and not stands_for(held, write) then
				wrong[#wrong + 1] = ("lost: %s: acknowledged %s, node 1 has %s"):format(name, describe(write), describe(held))
			end
		end
	end
	return #wrong > 0 and table.concat(wrong, "\n") or nil
end

--- @return promises; its field `count`: acknowledged writes
function M.new()
	return setmetatable({ writes = {}, count = 0 }, Promises)
end

return M
