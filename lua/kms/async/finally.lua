--- Calls a function and cleans up after it, whether it returns or throws.

local M = {}

local function finish(cleanup, owner, key, ok, ...)
	cleanup(owner, key)
	if not ok then error((...), 0) end
	return ...
end

--- Calls fn(...), which may yield, then cleanup(owner, key).
-- @return what fn returned; throws what it threw
function M.call(cleanup, owner, key, fn, ...)
	return finish(cleanup, owner, key, pcall(fn, ...))
end

return M
