--- Checks the dependencies of a part of the node. Each part's new(deps) accepts exactly the dependencies
-- that it names, so that a misspelt or superfluous one is found at the start.

local M = {}

local function names_of(text)
	local names = {}
	for name in text:gmatch("%S+") do names[name] = true end
	return names
end

--- Checks dependencies and copies them, so that the copy can become the part itself.
-- @param deps  dependency by name
-- @param required  names, separated by spaces
-- @param optional  names that may be absent, separated by spaces, or nil
-- @return new table of the dependencies; throws, at the caller of new(), where one is missing or unknown
function M.take(deps, required, optional)
	if type(deps) ~= "table" then error("dependencies must be a table", 3) end
	local taken = {}
	local needed, allowed = names_of(required), names_of(optional or "")
	for name in pairs(needed) do
		if deps[name] == nil then error("missing dependency: " .. name, 3) end
	end
	for name, value in pairs(deps) do
		if not needed[name] and not allowed[name] then error("unknown dependency: " .. tostring(name), 3) end
		taken[name] = value
	end
	return taken
end

return M
