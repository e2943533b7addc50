--- Random numbers that depend on a seed only (splitmix64).

local M = {}

--- @return function(n) -> 0 to n - 1
function M.new(seed)
	-- Not a multiple of the step below: then a seed would repeat most of what the one before it does.
	local state = seed
	return function(n)
		state = state + 0x9E3779B97F4A7C15
		local z = state
		z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
		z = (z ~ (z >> 27)) * 0x94D049BB133111EB
		return ((z ~ (z >> 31)) >> 1) % n
	end
end

return M
