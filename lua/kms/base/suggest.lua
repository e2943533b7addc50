--- Suggests the known name nearest to a mistyped one: configuration keys, options, commands.

local M = {}

local LONGEST = 64 -- bytes that are compared, which bounds the work on hostile input
local SHORTEST = 3 -- bytes, a dash among them, that may be the beginning of what was meant

-- The edit distance (insert, delete, replace a byte) between two short strings.
local function distance(a, b)
	local previous = {}
	for j = 0, #b do previous[j] = j end
	for i = 1, #a do
		local current = { [0] = i }
		for j = 1, #b do
			local replace = previous[j - 1] + (a:byte(i) == b:byte(j) and 0 or 1)
			current[j] = math.min(replace, previous[j] + 1, current[j - 1] + 1)
		end
		previous = current
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

return M
