--- Suggests the known name nearest to a mistyped one: configuration keys, options, commands.

local M = {}

local LONGEST = 64 -- bytes that are compared, which bounds the work on hostile input
local SHORTEST = 3 -- bytes, a dash among them, that may be the beginning of what was meant
local MISSPELT = 8 -- bytes of the shortest name that is taken for a misspelt one among names of others
local MISSPELT_TWICE = 12 -- bytes from which on two mistakes are believed

-- Whether bytes i - 1 and i of a stand in b the other way round, at j - 1 and j.
local function is_swap(a, i, b, j)
	return i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
end

-- The edit distance (insert, delete, replace a byte, swap two neighbours) between two short strings.
local function distance(a, b)
	local before, previous = nil, {}
	for j = 0, #b do previous[j] = j end
	for i = 1, #a do
		local current = { [0] = i }
		for j = 1, #b do
			local replace = previous[j - 1] + (a:byte(i) == b:byte(j) and 0 or 1)
			current[j] = math.min(replace, previous[j] + 1, current[j - 1] + 1)
			if is_swap(a, i, b, j) then current[j] = math.min(current[j], before[j - 2] + 1) end
		end
		before, previous = previous, current
	end
	return previous[#b]
end

--- Finds the known name nearest to an unknown one, ignoring case. One that the unknown name begins comes right after
-- those that are one byte away.
-- @param name  unknown name
-- @param known  list of names
-- @return one of `known` | nil where none begins with the name, and each differs by more than a third of its length
function M.nearest(name, known)
	local wanted = name:sub(1, LONGEST):lower()
	local best, best_distance = nil, math.max(2, #wanted // 3) + 1
	for _, candidate in ipairs(known) do
		local text = candidate:sub(1, LONGEST):lower()
		local d = distance(wanted, text)
		if #wanted >= SHORTEST and text:sub(1, #wanted) == wanted then d = math.min(d, 1.5) end
		if d < best_distance then best, best_distance = candidate, d end
	end
	return best
end

--- Finds the known name that a name misspells, ignoring case, among names of which most are none of ours: far stricter
-- than M.nearest.
-- @param name  a name that is not known
-- @param known  list of names
-- @return one of `known` | nil: name and candidate have fewer than 8 bytes, or differ by more than one byte (two
--   from 12 bytes on)
function M.misspelt(name, known)
	if #name > LONGEST then return nil end
	local wanted = name:lower()
	local best, best_distance
	for _, candidate in ipairs(known) do
		local shorter = math.min(#name, #candidate)
		local most = shorter >= MISSPELT_TWICE and 2 or 1
		if shorter >= MISSPELT and math.abs(#name - #candidate) <= most then
			local d = distance(wanted, candidate:lower())
			if d <= most and d < (best_distance or d + 1) then best, best_distance = candidate, d end
		end
	end
	return best
end

return M
