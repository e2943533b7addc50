--- What a part is made with. Each part's new(deps) takes exactly the dependencies that it names: a
-- misspelt or superfluous one is a mistake of whoever assembles the part, found at the start.

local M = {}

local function names_of(text)
	local names = {}
	for name in text:gmatch("%S+") do names[name] = true end
	return names
end

--- Checks dependencies and copies them, so that the copy can become the part itself.
-- Throws, at the caller of the function that calls this, when one is missing or unknown.
-- @param deps table: dependency by name
-- @param required names, separated by spaces
-- @param optional names that may be absent, or nil
-- @return a new table of the dependencies
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
