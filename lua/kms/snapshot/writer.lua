--- Writes what changed in the store into files of records. A page at a time, and a moment between two, so that requests
-- have the loop and the pool in between.

local loop = require("kms.base.loop")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Writer = {}
Writer.__index = Writer

local MAX_FILE = 16 << 20
local PAGE = 256 << 10
-- After each page, which took 1 to 3 ms. With 2 ms the p99 of requests beside a snapshot was 1.6 times that without,
-- with this 1.3 times.
local PAUSE_MS = 12
local LAST_PAUSE_MS = 2 -- where the process is about to end

-- A file under construction | nil, message.
local function new_file(self, master)
	local sequence = self.next_sequence()
	local writer, message = native.snapshot_writer(master, "records", self.wallet(), sequence)
	if not writer then return nil, message end
	return { writer = writer, sequence = sequence, records = 0 }
end

-- Seals and writes a file. Returns what the manifest says of it | nil, message.
local function finish(self, place, file)
	local body, sha256 = file.writer:finish()
	if not body then
		local message = sha256
		return nil, message
	end
	local ok, message = place:write(self.wallet(), file.sequence, "records", body, sha256)
	if not ok then return nil, message end
	return { sequence = file.sequence, bytes = body:len(), sha256 = sha256, records = file.records }
end

-- Adds pages to files until the walk ends. Returns true | nil, message.
local function write_all(self, place, master, walk, files)
	local file, message
	while true do
		local page, records = walk:page(PAGE)
		if page == nil then return nil, records end
		local is_full = page and file and file.writer:size(page:len()) > MAX_FILE
		if file and (is_full or not page) then
			files[#files + 1], message = finish(self, place, file)
			if message then return nil, message end
			file = nil
		end
		if not page then return true end
		if not self.goes_on(master) then return nil, "this node's store is not complete any more" end
		if not file then file, message = new_file(self, master) end
		if not file then return nil, message end
		local ok
		ok, message = file.writer:add(page)
		if not ok then return nil, message end
		file.records = file.records + records
		loop.sleep(self.pause_ms)
	end
end

--- Makes the pauses between pages short from now on: there is little time.
function Writer:hurry()
	self.pause_ms = LAST_PAUSE_MS
end

--- Removes files that no manifest will name, as far as that is possible; yields.
function Writer:forget(place, files)
	for _, file in ipairs(files) do place:remove(self.wallet(), file.sequence, "records") end
end

--- Writes what changed after a change of the store; yields. After a failure no file is left where that is possible.
-- @param since number of that change; 0: all that the store holds
-- @return { files: list as in a manifest, bytes, records, since: for the next call } | nil, message
function Writer:write(place, master, since)
	local walk, next_since = self.store:walk(since)
	if not walk then
		local message = next_since
		return nil, message
	end
	local files = {}
	local ok, message = write_all(self, place, master, walk, files)
	if not ok then
		self:forget(place, files)
		return nil, message
	end
	local bytes, records = 0, 0
	for _, file in ipairs(files) do bytes, records = bytes + file.bytes, records + file.records end
	return { files = files, bytes = bytes, records = records, since = next_since }
end

--- @param deps store; wallet (function -> this node's); next_sequence (function -> an unused sequence); goes_on
--   (function(master) -> whether this node may still write)
-- @return writer
function M.new(deps)
	local self = setmetatable(needs.take(deps, "store wallet next_sequence goes_on"), Writer)
	self.pause_ms = PAUSE_MS
	return self
end

return M
