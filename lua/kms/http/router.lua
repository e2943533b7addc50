--- Finds the route of a method and a path. Paths are compared as sent, neither decoded nor normalised,
-- so that two spellings never lead to one route.

local M = {}

local Router = {}
Router.__index = Router

-- The Allow header of the methods that are not disabled, or nil.
local function allowed(methods)
	local list = {}
	for method, route in pairs(methods) do
		if not route.disabled then list[#list + 1] = method end
		if not route.disabled and method == "GET" then list[#list + 1] = "HEAD" end
	end
	if #list == 0 then return nil end
	list[#list + 1] = "OPTIONS"
	table.sort(list)
	return table.concat(list, ", ")
end

local function methods_of(self, path)
	local exact = self.exact[path]
	if exact then return exact end
	for _, entry in ipairs(self.prefixes) do
		if #path > #entry.prefix and path:sub(1, #entry.prefix) == entry.prefix then
			return entry.methods, path:sub(#entry.prefix + 1)
		end
	end
	return nil
end

--- Finds the route of a request.
-- @return route, raw rest of the path after a prefix | nil, "not_found" |
--   nil, "method_not_allowed" or "options", Allow header
function Router:match(method, path)
	local methods, rest = methods_of(self, path)
	if not methods then return nil, "not_found" end
	local route = methods[method == "HEAD" and "GET" or method]
	if route and not route.disabled then return route, rest end
	local allow = allowed(methods)
	if route or not allow then return nil, "not_found" end
	return nil, method == "OPTIONS" and "options" or "method_not_allowed", allow
end

--- The routes in the order in which they were given.
function Router:routes()
	return self.list
end

--- @param routes  list of { name, method, path or prefix, handler, disabled (treated as absent), ... }; throws
--   where two have the same method and path
function M.new(routes)
	local self = setmetatable({ exact = {}, prefixes = {}, list = routes }, Router)
	local by_prefix = {}
	for _, route in ipairs(routes) do
		local methods
		if route.prefix then
			methods = by_prefix[route.prefix]
			if not methods then
				methods = {}
				by_prefix[route.prefix] = methods
				self.prefixes[#self.prefixes + 1] = { prefix = route.prefix, methods = methods }
			end
		else
			methods = self.exact[route.path] or {}
			self.exact[route.path] = methods
		end
		if methods[route.method] then error("route given twice: " .. route.name, 2) end
		methods[route.method] = route
	end
	return self
end

return M
