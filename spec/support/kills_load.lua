--- Writes at a steady rate while nodes of a cluster are killed (spec.support.kills), and what must be left of them.
--
-- Each writer makes one call after the other, to any node that runs. It writes a key up to three times and then leaves
-- it, so that no later write hides that one is lost. The values of a key are numbered. What a read gives must be as new
-- as the last write that was answered with two copies or more; what was answered with a single copy, or not at all, may
-- be there or not.

local app_client = require("spec.support.app_client")
local loop = require("kms.base.loop")
local parallel = require("kms.async.parallel")
local uv = require("luv")

local M = {}

local Load = {}
Load.__index = Load

local WRITERS, PER_SECOND = 50, 200
local PERIOD_MS = WRITERS * 1000 // PER_SECOND -- between two writes of a writer
local MAX_WRITES = 3 -- of a key
local DELETE_ONE_IN = 10
local KEPT = 60 -- keys of earlier rounds that are read again after each
local PADDING = (":"):rep(100)
local TIMEOUT_MS = 3000
local READS_AT_ONCE = 8

local function now_ms()
	return uv.hrtime() // 1000000
end

-- ---- what is known of a key -----------------------------------------------------------------------------
--
-- { name; number: of its last write; held: number of the last one with two copies (0: none); deleted: set of numbers
--   of deletions; late: set of numbers whose call timed out while the node ran, which may be carried out at any time }

local function new_key(self)
	self.made = self.made + 1
	local key = { name = ("kills/%d"):format(self.made), number = 0, held = 0, deleted = {}, late = {} }
	self.keys[#self.keys + 1] = key
	return key
end

-- Whether a read may show a write, when those with two copies up to `held` were there before.
local function may_be(key, held, number)
	return number <= key.number and (number >= held or key.late[number] == true)
end

local function may_be_absent(key, held)
	if held == 0 then return true end
	for number in pairs(key.deleted) do
		if may_be(key, held, number) then return true end
	end
	return false
end

-- ---- writing --------------------------------------------------------------------------------------------

local function answered(self, key, number, copies)
	local counts = self.counts
	counts.acknowledged = counts.acknowledged + 1
	if (copies or 1) < self.copies then return end
	counts.copied = counts.copied + 1
	key.held = number
end

-- The node refused, so it has not written; or its answer is missing, and nobody knows.
local function unanswered(self, key, number, process, code)
	self.counts.failed = self.counts.failed + 1
	if code == "ERR_REFUSED" then
		key.deleted[number] = nil
	elseif process:alive() then
		key.late[number] = true
	end
end

local function write(self, key, node)
	local process, number = node.process, key.number + 1
	local deletes = self.random(1, DELETE_ONE_IN) == 1
	key.number, self.counts.writes = number, self.counts.writes + 1
	if deletes then key.deleted[number] = true end
	local fields = { key = key.name, value = not deletes and number .. PADDING or nil }
	local result, _, code = self.clients[node]:call(deletes and "delete" or "put", fields)
	if result then return answered(self, key, number, result.copies) end
	unanswered(self, key, number, process, code)
end

local function running(self)
	local list = {}
	for _, node in ipairs(self.nodes) do
		if node.process:alive() then list[#list + 1] = node end
	end
	return list[self.random(1, #list)]
end

local function write_on(self)
	loop.sleep(self.random(0, PERIOD_MS))
	local key, left = nil, 0
	while self.is_running do
		local began_ms = now_ms()
		if left == 0 then key, left = new_key(self), self.random(1, MAX_WRITES) end
		left = left - 1
		write(self, key, running(self))
		loop.sleep(math.max(1, PERIOD_MS - (now_ms() - began_ms)))
	end
	self.writers = self.writers - 1
end

-- Keeps some of the keys, in the place of others.
local function keep_some(self)
	for i = KEPT + 1, #self.keys do
		local place = self.random(1, i)
		if place <= KEPT then self.keys[place] = self.keys[i] end
		self.keys[i] = nil
	end
end

--- Starts to write new keys. Of those before, some are read again.
function Load:start()
	keep_some(self)
	self.is_running, self.writers, self.began_ms = true, WRITERS, now_ms()
	for _ = 1, WRITERS do loop.spawn(write_on, self) end
end

--- Ends writing. Returns at once; Load:is_idle says when no call is under way any more.
function Load:stop()
	self.is_running = false
	self.counts.ms = self.counts.ms + now_ms() - self.began_ms
end

--- Whether no call is under way.
function Load:is_idle()
	return self.writers == 0
end

-- ---- reading --------------------------------------------------------------------------------------------

-- Returns nil, or what is wrong.
local function check(self, key, held, node)
	local value, message = app_client.read(self.clients[node], key.name, self.scratch)
	local number = value and math.tointeger(tonumber(value:match("^(%d+):")))
	local what
	if number then
		if may_be(key, held, number) then return nil end
		what = "shows write " .. number
	elseif value == nil then
		if may_be_absent(key, held) then return nil end
		what = "does not have it"
	else
		what = "does not answer: " .. message
	end
	return ("%s: write %d of %d stands, but node %d %s"):format(key.name, held, key.number, node.index, what)
end

--- What stands with two copies or more at this moment.
-- @return list of { key, number: of its write }
function Load:held()
	local list = {}
	for i, key in ipairs(self.keys) do list[i] = { key = key, number = key.held } end
	return list
end

--- Reads keys on some nodes.
-- @param held what must be there at least, of Load:held
-- @return list of what is wrong
function Load:wrong(nodes, held)
	local list = {}
	for _, node in ipairs(nodes) do
		parallel.map(held, READS_AT_ONCE, function(this)
			local what = check(self, this.key, this.number, node)
			list[#list + 1] = what
		end)
	end
	return list
end

--- @param nodes, app, dir of a devnet; random function(low, high)
-- @param copies with how many copies a write must not be lost (2)
-- @return load; `counts`: writes, those acknowledged, those of them with two copies or more (copied), those that
--   failed, ms of writing
function M.new(nodes, app, dir, random, copies)
	local self = setmetatable({
		nodes = nodes, random = random, copies = copies or 2, scratch = dir .. "/value", clients = {}, keys = {},
		made = 0, writers = 0, counts = { writes = 0, acknowledged = 0, copied = 0, failed = 0, ms = 0 },
	}, Load)
	for _, node in ipairs(nodes) do self.clients[node] = app_client.connect(node, app, TIMEOUT_MS) end
	return self
end

return M
