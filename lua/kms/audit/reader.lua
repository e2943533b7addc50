--- Reads files of an audit log, whoever wrote them: line by line, each bounded, each checked for the form of a line.

local cjson = require("cjson.safe")
local uv = require("luv")

local M = {}

local CHUNK_BYTES = 65536
local MAX_LINE = 4096 -- bytes, with the line feed (KMS_AUDIT_LINE_MAX)
local MAX_SEQUENCE = 1 << 53

-- A whole number as JSON's readers give it. Returns integer | nil.
local function whole(value)
	local number = type(value) == "number" and math.tointeger(value)
	return number and number >= 0 and number <= MAX_SEQUENCE and number or nil
end

--- What a line says.
-- @param raw its text, without the line feed
-- @return table of its members (seq, prev, time_ms, event and others) | nil: it is no line of an audit log
function M.parse(raw)
	local seq, prev = raw:match('^{"seq":(%d+),"prev":"(%x+)","time_ms":%d+,"event":"')
	if not seq or #prev ~= 64 or prev:find("%u") then return nil end
	-- cjson takes control characters in strings, JSON does not, and a terminal obeys them.
	if raw:find("[%z\1-\31]") then return nil end
	local line = cjson.decode(raw)
	if type(line) ~= "table" or type(line.event) ~= "string" then return nil end
	line.seq, line.time_ms = whole(line.seq), whole(line.time_ms)
	if not line.time_ms or not line.seq or line.seq == 0 or ("%d"):format(line.seq) ~= seq then return nil end
	if line.prev ~= prev then return nil end
	return line
end

-- Calls fn(text, number, is_whole) for each line. Returns true | nil, message.
local function each_text(file, fn)
	local rest, number = "", 0
	while true do
		local chunk = file:read(CHUNK_BYTES)
		if not chunk then break end
		local at, text = 1, rest .. chunk
		while true do
			local feed = text:find("\n", at, true)
			if (feed or #text + 1) - at >= MAX_LINE then
				return nil, ("line %d is longer than the %d bytes of a line"):format(number + 1, MAX_LINE)
			end
			if not feed then break end
			number = number + 1
			local ok, message = fn(text:sub(at, feed - 1), number, true)
			if not ok then return nil, message end
			at = feed + 1
		end
		rest = text:sub(at)
	end
	if rest == "" then return true end
	return fn(rest, number + 1, false)
end

--- Opens a regular file.
-- @return file | nil, message
function M.open(path)
	-- Asked before opening, since opening a named pipe waits for a writer.
	local stat, message = uv.fs_stat(path)
	if not stat then return nil, message end
	if stat.type ~= "file" then return nil, path .. ": is no regular file" end
	local file
	file, message = io.open(path, "rb")
	return file, message
end

--- Calls fn(raw, number, is_whole) for each line of a file; is_whole: it ends in a line feed.
-- @param fn returns true to go on | nil, message
-- @return true | nil, message: what fn returned, or why the file cannot be read
function M.each(path, fn)
	local file <close>, message = M.open(path)
	if not file then return nil, message end
	return each_text(file, fn)
end

-- The first line of a file, or nil.
local function first_line(path)
	local found
	M.each(path, function(raw)
		found = M.parse(raw)
		return nil
	end)
	return found
end

--- Sorts files by the time and number of their first lines: the order in which they were written. Others come last.
-- @return new list
function M.in_order(paths)
	local keys, sorted = {}, table.move(paths, 1, #paths, 1, {})
	for _, path in ipairs(paths) do
		local line = first_line(path)
		keys[path] = line and { line.time_ms, line.seq } or { math.maxinteger, 0 }
	end
	table.sort(sorted, function(a, b)
		local one, two = keys[a], keys[b]
		if one[1] ~= two[1] then return one[1] < two[1] end
		if one[2] ~= two[2] then return one[2] < two[2] end
		return a < b
	end)
	return sorted
end

return M
