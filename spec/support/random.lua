--- Random numbers that a seed decides, for tests whose failures are to be seen again.

local M = {}

--- A generator.
-- @return function(low, high) -> a whole number from low to high
function M.new(seed)
	local state = seed
	return function(low, high)
		state = state * 6364136223846793005 + 1442695040888963407
		return low + (state >> 33) % (high - low + 1)
	end
end

return M
