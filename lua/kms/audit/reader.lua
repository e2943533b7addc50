--- Reads files of an audit log, whoever wrote them: line by line, each bounded, each checked for the form of a line.

local cjson = require("cjson.safe")
local text = require("kms.base.text")
local uv = require("luv")

local M = {}

local CHUNK_BYTES = 65536
local MAX_LINE = 4096 -- bytes, with the line feed (KMS_AUDIT_LINE_MAX)
local MAX_SEQUENCE = 1 << 53

--- What NUL bytes in a log are: to be appended to a number of bytes.
-- @param count  how many; 0: nothing is to be said of them
function M.nuls(count)
	if count == 0 then return "" end
	return (", of them %s, as a power cut leaves them where lines had not reached the disk"):format(
		text.count(count, "NUL byte"))
end

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

-- A power cut can leave NUL bytes without end where lines were: they are counted and left out, but for one, so that
-- what remains is no line. Returns text, number of bytes left out.
local function without_nuls(piece)
	local kept = piece:gsub("\0", "")
	if kept == piece then return piece, 0 end
	return "\0" .. kept, #piece - #kept - 1
end

-- Calls fn(text, number, is_whole, left_out) for each line. Returns true | nil, message.
local function each_text(file, fn)
	local rest, number, left_out = "", 0, 0
	for chunk in function() return file:read(CHUNK_BYTES) end do
		local at, read = 1, rest .. chunk
		repeat
			local feed = read:find("\n", at, true)
			local piece, more = read:sub(at, feed and feed - 1), 0
			if #piece >= MAX_LINE then piece, more = without_nuls(piece) end
			if #piece >= MAX_LINE then
				return nil, ("line %d is longer than the %d bytes of a line"):format(number + 1, MAX_LINE)
			end
			left_out = left_out + more
			if feed then
				number = number + 1
				local ok, message = fn(piece, number, true, left_out)
				if not ok then return nil, message end
				at, left_out = feed + 1, 0
			end
			rest = piece
		until not feed
	end
	if rest == "" then return true end
	return fn(rest, number + 1, false, left_out)
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

--- Calls fn(raw, number, is_whole, left_out) for each line of a file; is_whole: it ends in a line feed; left_out: NUL
-- bytes that are not in `raw`, which is no line then.
-- @param fn returns true to go on | nil, message
-- @return true | nil, message: what fn returned, or why the file cannot be read
function M.each(path, fn)
	local file <close>, message = M.open(path)
	if not file then return nil, message end
	return each_text(file, fn)
end

--- The first line of a file as parse() gives it, or nil.
function M.first(path)
	local found
	M.each(path, function(raw)
		found = M.parse(raw)
		return nil
	end)
	return found
end

return M
