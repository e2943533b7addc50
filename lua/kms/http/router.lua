--- Finds the route of a method and a path, or says what is wrong with them. Paths are compared as sent, neither
-- decoded nor normalised, so that two spellings never lead to one route.

local err = require("kms.base.err")

local M = {}

-- Methods that some route may have.
local IMPLEMENTED = { GET = true, HEAD = true, POST = true, PUT = true, DELETE = true, OPTIONS = true }

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

local function methods_by_prefix(self, path)
	for _, entry in ipairs(self.prefixes) do
		if #path > #entry.prefix and path:sub(1, #entry.prefix) == entry.prefix then
			return entry.methods, path:sub(#entry.prefix + 1)
		end
	end
	return nil
end

--- Finds the route of a request.
-- @param path  "*": the server as a whole, only with OPTIONS
-- @return route, raw rest of the path after a prefix | nil, "not_found" or "not_implemented" |
--   nil, "method_not_allowed" or "options", Allow header
function Router:match(method, path)
	if not IMPLEMENTED[method] then return nil, "not_implemented" end
	if path == "*" then return nil, "options", self.allow end
	local methods, rest = self.exact[path], nil
	if not methods then methods, rest = methods_by_prefix(self, path) end
	if not methods then return nil, "not_found" end
	local route = methods[method == "HEAD" and "GET" or method]
	if route and not route.disabled then return route, rest end
	local allow = allowed(methods)
	if route or not allow then return nil, "not_found" end
	return nil, method == "OPTIONS" and "options" or "method_not_allowed", allow
end

--- The reply to a request that has no route.
-- @param why, allow  as Router:match returns them
-- @return as kms.base.err.reply
function M.unrouted(why, allow)
	if why == "not_found" then return err.reply("ERR_NO_ROUTE") end
	if why == "not_implemented" then return err.reply("ERR_NOT_IMPLEMENTED", "the method is not implemented") end
	if why == "options" then return { status = 204, headers = { Allow = allow }, body = "" } end
	return err.reply("ERR_METHOD", "use one of: " .. allow, { Allow = allow })
end

--- @param routes  list of { name, method, path or prefix, handler, disabled (treated as absent), ... }; throws
--   where two have the same method and path
function M.new(routes)
	local self = setmetatable({ exact = {}, prefixes = {} }, Router)
	local by_prefix, of_any = {}, {}
	for _, route in ipairs(routes) do
		of_any[route.method] = {}
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
	self.allow = allowed(of_any) or "OPTIONS"
	return self
end

return M
