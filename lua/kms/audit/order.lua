--- The order in which the files of an audit log were written: by their chains, since clocks may be set back.

local reader = require("kms.audit.reader")

local M = {}

local TAIL_BYTES = 2 * 4096 -- of a file, in which its last line is: a line has 4096 bytes at most

-- The text of the last line of a file, or nil.
local function last_line(path)
	local file <close> = reader.open(path)
	local size = file and file:seek("end")
	if not size then return nil end
	file:seek("set", math.max(0, size - TAIL_BYTES))
	return file:read("a"):match("([^\n]+)\n$")
end

local function by_first_line(a, b)
	if a.time_ms ~= b.time_ms then return a.time_ms < b.time_ms end
	if a.seq ~= b.seq then return a.seq < b.seq end
	return a.path < b.path
end

-- Has each file that goes on behind the last line of another one follow that one.
local function link(list, hash_of)
	local by_prev, followers = {}, {}
	for _, one in ipairs(list) do
		if one.prev and not by_prev[one.prev] then by_prev[one.prev] = one end
	end
	for _, one in ipairs(list) do
		local raw = last_line(one.path)
		local following = raw and by_prev[hash_of(raw)]
		if following and following ~= one and not followers[following] then
			one.following, followers[following] = following, true
		end
	end
	return followers
end

--- Sorts files. Those of one chain follow each other; chains, and files that no other one here precedes, come by the
-- time and number of their first lines. What has none comes last.
-- @param hash_of function(text) -> its SHA-256 as `prev` has it; nil: all are sorted by their first lines
-- @return new list
function M.sorted(paths, hash_of)
	local list, sorted, placed = {}, {}, {}
	for i, path in ipairs(paths) do
		local line = reader.first(path)
		list[i] = {
			path = path, time_ms = line and line.time_ms or math.maxinteger, seq = line and line.seq or 0,
			prev = line and line.prev,
		}
	end
	table.sort(list, by_first_line)
	local followers = hash_of and link(list, hash_of) or {}
	local function place(one)
		while one and not placed[one] do
			placed[one] = true
			sorted[#sorted + 1] = one.path
			one = one.following
		end
	end
	for _, one in ipairs(list) do
		if not followers[one] then place(one) end
	end
	-- What is left follows itself in a circle, which no log does.
	for _, one in ipairs(list) do place(one) end
	return sorted
end

return M
