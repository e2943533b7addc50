--- kms.snapshot on real stores and a real folder, with the clocks and the place in the spec's hands. Fields that specs
-- read and change: dir; wall and mono (ms); lines (of the log: { event, fields }); complete, fresh, member (whether
-- wallets are members); secret; beside (files that are kept beside); failing (message of every write and listing, or
-- nil); anchor (function -> what is the newest anchor on chain).

local files = require("spec.support.files")
local native = require("spec.support.native")
local wait = require("spec.support.wait")

local folder = require("kms.snapshot.folder")
local keeper = require("kms.snapshot.keeper")
local loop = require("kms.base.loop")
local names = require("kms.snapshot.names")
local audits = require("spec.support.audit")
local restore = require("kms.snapshot.restore")

local M = {}

M.WALLETS = { "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40), "0x" .. ("3"):rep(40) }
M.RETENTION_MS, M.SKEW_MS, M.INTERVAL_MS = 86400000, 15000, 300000

local APP_ID = "49"
local WRITER = "0x" .. ("9"):rep(40)

local Fixture = {}
Fixture.__index = Fixture

--- Runs a function in a coroutine, where jobs go to the pool. Returns what it returned.
function M.wait(fn, ...)
	local results
	loop.spawn(function(...)
		results = table.pack(pcall(fn, ...))
	end, ...)
	wait.until_true("the coroutine", function() return results end)
	assert(results[1], results[2])
	return table.unpack(results, 2, results.n)
end

--- A store, without records.
function M.store(wallet)
	return assert(native.store({ self = wallet or M.WALLETS[1], tombstone_retention_ms = M.RETENTION_MS }))
end

--- Adds `count` deleted records to a store: <prefix>1, <prefix>2, and so on.
function Fixture:fill(store, prefix, count)
	local records = {}
	for i = 1, count do
		records[i] = ('{"key":"%s%d","value":null,"version":{"%s":1},"updated_at_ms":%d,"tombstone":true,"ttl_ms":0}')
			:format(prefix, i, WRITER, self.wall)
	end
	local text = ('{"data":{"%s":[%s]}}'):format(APP_ID, table.concat(records, ","))
	local message = assert(native.sync_parse(native.text_body(text)))
	message:admit(1)
	assert(assert(message:apply(store, self.secret, 1, self.wall)).merged == count)
end

--- The keys that a store holds, sorted and joined by spaces.
function Fixture.keys(_, store)
	return M.wait(function()
		local writer = assert(native.snapshot_writer(native.secret_random(32), "records", M.WALLETS[1], 1))
		local page = assert(store:walk(0)):page(1 << 30)
		if not page then return "" end
		local _, keys, i = writer, {}, 1
		local message = assert(native.sync_parse(page))
		local record = message:record(i)
		while record do
			keys[i], i = record.key, i + 1
			record = message:record(i)
		end
		table.sort(keys)
		return table.concat(keys, " ")
	end)
end

-- A place that fails when the spec says so.
local function failing_place(self, open)
	return function(secret)
		local place = open(secret)
		return setmetatable({}, { __index = function(_, method)
			return function(_, ...)
				local fails = self.failing and (method == "write" or method == "list" or method == "read")
				if fails then return nil, self.failing, "ERR_SYSTEM" end
				return place[method](place, ...)
			end
		end })
	end
end

--- A log that adds { event, fields } to a list.
function M.log(lines)
	local log = {}
	local function add(_, event, fields) lines[#lines + 1] = { event, fields or {} } end
	log.info, log.warn, log.error = add, add, add
	function log.limited(_, _, _, _, event, fields) add(nil, event, fields) end
	return log
end

--- A keeper of a store, of one of M.WALLETS by its number.
function Fixture:keeper(store, number, keep)
	return keeper.new({
		place = self.place, store = store, wallet = function() return M.WALLETS[number or 1] end, keep = keep or 3,
		beside = function() return self.beside end,
		secrets = setmetatable({}, { __index = function(_, name) return name == "current" and self.secret or nil end }),
		is_complete = function() return self.complete end, is_member = function(wallet) return self.member[wallet] end,
		log = self.log, mono_ms = function() return self.mono end, wall_ms = function() return self.wall end,
		interval_ms = M.INTERVAL_MS, retention_ms = M.RETENTION_MS, skew_ms = M.SKEW_MS,
	})
end

--- What restores into a store.
function Fixture:restore(store, allow_older)
	return restore.new({
		place = self.place, store = store, is_fresh = function() return self.fresh end,
		goes_on = function() return self.complete end, log = self.log, mono_ms = function() return self.mono end,
		wall_ms = function() return self.wall end, retention_ms = M.RETENTION_MS, skew_ms = M.SKEW_MS,
		allow_older = allow_older or false, newest_anchor = function() return self.anchor() end,
		audit = self.audit,
	})
end

--- Lets time pass on both clocks.
function Fixture:pass(ms)
	self.wall, self.mono = self.wall + ms, self.mono + ms
end

--- A keeper's save, to its end. Returns what it returned.
function Fixture.save(_, kept)
	return M.wait(kept.save, kept)
end

--- Fills a store and saves it as a node of this number. Returns the keeper.
function Fixture:saved(number, prefix, count)
	local store = M.store(M.WALLETS[number])
	self:fill(store, prefix, count)
	local kept = self:keeper(store, number)
	assert(self:save(kept))
	return kept, store
end

--- The folder of a wallet by its number.
function Fixture:folder(number)
	return ("%s/%s/%s"):format(self.dir, names.of_secret(self.secret), M.WALLETS[number or 1])
end

--- The names of a wallet's files of a kind, oldest first: "snap" or "manifest".
function Fixture:files(kind, number)
	local list = {}
	for _, name in ipairs(require("kms.base.files").list(self:folder(number))) do
		if name:find("%." .. kind .. "$") then list[#list + 1] = name end
	end
	return list
end

--- The fields of the first line of the log with this event, or nil.
function Fixture:logged(event)
	for _, line in ipairs(self.lines) do
		if line[1] == event then return line[2] end
	end
	return nil
end

--- Removes the folder.
function Fixture:close()
	files.remove_dir(self.dir)
end

--- @return fixture
function M.new()
	local self = setmetatable({
		dir = files.temp_dir(), wall = 1700000000000, mono = 1000, lines = {}, complete = true, fresh = false, member = {},
		beside = {}, audit = audits.new(),
		secret = native.secret_random(32),
	}, Fixture)
	self.log = M.log(self.lines)
	self.anchor = function() return false end
	self.place = failing_place(self, assert(folder.open(self.dir)))
	return self
end

return M
