--- The name that somebody who mistyped one probably meant.
-- Used wherever an unknown name is refused: configuration keys, options, commands.

local M = {}

local LONGEST = 64 -- bytes compared; also what bounds the work on hostile input

--- Edit distance (insert, delete, replace a byte) between two short strings.
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

--- Finds the known name nearest to a wrong one; letter case does not count.
-- @param name   what was written
-- @param known  list of names
-- @return the nearest of `known`, or nil when none is near (more than a third differs)
function M.nearest(name, known)
	local wanted = name:sub(1, LONGEST):lower()
	local best, best_distance = nil, math.max(2, #wanted // 3) + 1
	for _, candidate in ipairs(known) do
		local d = distance(wanted, candidate:sub(1, LONGEST):lower())
		if d < best_distance then best, best_distance = candidate, d end
	end
	return best
end

return M
