--- What a cluster promises, checked on a simulated one: all members hold the same in the end; no acknowledged write
-- is lost while a member with its store still holds it, none that was answered with two copies in a single crash; no
-- delete comes back; a member that serves has what the complete members that it reached had when it started; and no
-- value is given up for another member's lack of room.

local loop = require("spec.simulate.virtual_loop")
local records = require("spec.simulate.records")
local trace = require("spec.simulate.trace")

local M = {}

local Promises = {}
Promises.__index = Promises

local function broken(self, form, ...)
	self.wrong[#self.wrong + 1] = form:format(...)
end

--- A write was acknowledged.
-- @param name "application/key"
-- @param record as the node wrote it, with the number of its `copies`
-- @param node where it was written; @param began_ms when it began
function Promises:acknowledged(name, record, node, began_ms)
	local list = self.writes[name] or {}
	self.writes[name] = list
	list[#list + 1] = record
	record.node, record.life, record.began_ms = node, node.life, began_ms
	-- A node that is no member, or not this version's, promises nothing.
	record.excused = node.is_away or node.is_existing or node.lies ~= nil
	self.count = self.count + 1
end

-- Whether a record is a write, or a newer one: a write is stamped after everything that its node knew.
local function stands_for(record, write)
	if not record then return false end
	if record.updated_at_ms ~= write.updated_at_ms then return record.updated_at_ms > write.updated_at_ms end
	-- An expired or evicted record has lost its value.
	return not record.value or record.value >= (write.value or "")
end

local function covers(version, other)
	for wallet, counter in pairs(other) do
		if (version[wallet] or 0) < counter then return false end
	end
	return true
end

-- The value that a record has, or had before it expired or was evicted: then its version tells which of the
-- acknowledged writes of its stamp it was. Deletions have the least of all; nil: it was none of them.
local function value_of(record, writes)
	if record.value then return record.value end
	local value
	for _, write in ipairs(writes) do
		if write.updated_at_ms == record.updated_at_ms and covers(record.version, write.version) then
			local its = write.value or ""
			if not value or its > value then value = its end
		end
	end
	return value
end

-- Whether one of the nodes holds the write, or a newer one; nil: that cannot be told.
local function is_held(write, name, stores, writes)
	local result = false
	for _, held in pairs(stores) do
		local record = held[name]
		if record and record.updated_at_ms == write.updated_at_ms then
			local value = value_of(record, writes)
			if not value then result = nil
			elseif value >= (write.value or "") then return true end
		elseif stands_for(record, write) then
			return true
		end
	end
	return result
end

local describe

--- A node is about to lose its store: what no other node holds may be lost, unless it had copies, and no other node
-- has lost its store since.
-- @param others nodes that keep theirs
-- @param all whether these are all others: a copy may be on a member that left, which others notice in a minute
function Promises:losing(index, others, all)
	local stores = {}
	for i, node in ipairs(others) do stores[i] = records.all(node.parts) end
	for name, list in pairs(self.writes) do
		for _, write in ipairs(list) do
			local held = write.excused or is_held(write, name, stores, list)
			if not held then
				write.excused = true
				if held == false and all and write.copies > 1 and (self.crashed_ms or -1) < write.began_ms then
					broken(self, "copies: %s: only node %d had %s, answered with %d copies", name, index, describe(write),
						write.copies)
				end
			end
		end
	end
	self.crashed_ms = loop.now()
end

--- What was written up to now may be lost: a liar took its place.
function Promises:forgive()
	self.writes, self.wrong = {}, {}
end

--- A node has started with an empty store.
-- @param others nodes that it reaches
function Promises:joining(node, others)
	local expected = {}
	for _, other in ipairs(others) do expected[other.index] = records.all(other.parts) end
	self.expected[node.index] = expected
end

--- A node is not reached any more, or has lost its store: joining members may be without it.
function Promises:disturbed(index)
	self.expected[index] = nil
	for _, expected in pairs(self.expected) do expected[index] = nil end
end

--- A node that was joining serves.
function Promises:joined(node)
	local stores, held = self.expected[node.index], records.all(node.parts)
	self.expected[node.index] = nil
	for other, store in pairs(stores or {}) do
		for name, record in pairs(store) do
			-- A stub that a member gave may be dropped at any time: this node never had its value.
			if not record.stub and not stands_for(held[name], record) then
				broken(self, "join: %s: node %d had %s, node %d serves with %s", name, other, describe(record), node.index,
					describe(held[name]))
			end
		end
	end
end

function describe(record)
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

-- Whether another acknowledged write has the same stamp, so that it may have won.
local function has_rival(list, write)
	for _, other in ipairs(list) do
		if other ~= write and other.updated_at_ms == write.updated_at_ms then return true end
	end
	return false
end

-- The node that made a write with a value, and has room for it, has lost nothing since then: the value is there.
local function check_value(self, name, list, write)
	local node = write.node
	if write.excused or node.life ~= write.life or node.is_tight then return end
	if not write.value or has_rival(list, write) then return end
	local held = records.all(node.parts)[name]
	if held and held.stub and held.updated_at_ms == write.updated_at_ms then
		broken(self, "value: %s: node %d wrote %s, and has %s", name, node.index, describe(write), describe(held))
	end
end

--- Checks the cluster, in which nothing is under way.
-- @return nil | what is broken, as text
function Promises:broken(nodes)
	local stores = {}
	for i, node in ipairs(nodes) do
		if not node.parts.readiness.ready then
			broken(self, "down: node %d does not serve: %s", node.index, node.parts.readiness.reason)
		end
		stores[i] = records.all(node.parts)
	end
	for _, name in ipairs(names_of(stores, self.writes)) do
		for i, held in ipairs(stores) do trace.note("%s on %d: %s", name, i, describe(held[name])) end
		for i = 2, #stores do
			if not same(stores[1][name], stores[i][name]) then
				broken(self, "divergent: %s: node %d has %s, node %d has %s", name, nodes[1].index, describe(stores[1][name]),
					nodes[i].index, describe(stores[i][name]))
			end
		end
		for _, write in ipairs(self.writes[name] or {}) do
			local held = stores[1][name]
			if not write.excused and not stands_for(held, write) then
				broken(self, "lost: %s: acknowledged %s, node %d has %s", name, describe(write), nodes[1].index,
					describe(held))
			end
			check_value(self, name, self.writes[name], write)
		end
	end
	return #self.wrong > 0 and table.concat(self.wrong, "\n") or nil
end

--- @return promises; its field `count`: acknowledged writes
function M.new()
	return setmetatable({ writes = {}, expected = {}, wrong = {}, count = 0 }, Promises)
end

return M
