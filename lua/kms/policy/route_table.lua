--- The routes in force: the node's own that routes.lua lists, the operator's extra ones, and the limits that
-- routes.lua sets for each. Rebuilt for each set of policies.

local cjson = require("cjson")
local err = require("kms.base.err")
local native = require("kms_native")
local needs = require("kms.base.needs")
local router = require("kms.http.router")

local M = {}

local RouteTable = {}
RouteTable.__index = RouteTable

local MAX_ADDRESSES = 65536
local MAX_FILL_MINUTES = 50000000 -- the longest time to fill a burst that a limiter takes; in effect, never

-- The names in routes.lua of a route's handlers: /kms/data without a key in its path is a listing or, with
-- ?key=, a record.
local function handlers_of(route)
	if route.without_key and route.path then return { route.name, route.without_key.name } end
	return { route.name }
end

local function handler_of(route, request)
	local key = request.query and native.http_query(request.query, "key")
	return key and route.name or route.without_key.name
end

-- The most bytes of a body; routes.lua can only lower it.
local function max_body_of(config, name)
	return name == "sync" and config.MAX_SYNC_PAYLOAD_BYTES or config.MAX_REQUEST_BODY_BYTES
end

-- A limit that a reload did not change keeps its counts.
local function limiter_for(self, name, entry)
	if not entry.rate then return nil end
	local old = self.limiters[name]
	if old and old.rate == entry.rate and old.burst == entry.burst then return old end
	local burst = math.min(entry.burst, entry.rate * MAX_FILL_MINUTES)
	return { rate = entry.rate, burst = entry.burst, bucket = assert(native.limiter(entry.rate, burst, MAX_ADDRESSES)) }
end

local function serve_extra(self, number)
	local page = self.policy:extra(number, self.node_facts())
	-- Some plain data has no form in JSON.
	local ok, body = pcall(cjson.encode, page)
	if not page or not ok then return err.reply("ERR_STATE") end
	return { status = 200, headers = { ["Content-Type"] = "application/json" }, body = body }
end

local function extra_routes(self, entries)
	local routes = {}
	for i, extra in ipairs(self.policy:extra_routes(self.config)) do
		local name = "extra/" .. extra.name
		entries[name] = { rate = extra.rate, burst = extra.burst }
		routes[i] = {
			name = name, method = "GET", path = extra.path, handler = function() return serve_extra(self, extra.number) end,
		}
	end
	return routes
end

local function exists(entries, route)
	for _, name in ipairs(handlers_of(route)) do
		if entries[name] then return true end
	end
	return false
end

local function listing(routes, entries)
	local list = {}
	for _, route in ipairs(routes) do
		local entry = entries[route.name] or route.without_key and entries[route.without_key.name]
		if not route.disabled then
			list[#list + 1] = { name = route.name, method = route.method, path = route.path, prefix = route.prefix,
				max_body = entry.max_body }
		end
	end
	return list
end

--- Makes the router for the policies in force. Throws before anything has changed, or makes all of it.
function RouteTable:rebuild()
	local entries, routes, limiters = self.policy:routes(self.config), {}, {}
	local extra = extra_routes(self, entries)
	for _, list in ipairs({ self.own, extra }) do
		for _, route in ipairs(list) do routes[#routes + 1] = route end
	end
	for name, entry in pairs(entries) do
		limiters[name] = limiter_for(self, name, entry)
		entry.max_body = entry.max_body or max_body_of(self.config, name)
	end
	self.entries, self.limiters, self.router = entries, limiters, router.new(routes)
	for _, route in ipairs(routes) do route.disabled = not exists(entries, route) end
	self.listed = listing(routes, entries)
end

--- The routes in force: list of { name, method, path or prefix, max_body (bytes) }, the same one until they change.
function RouteTable:in_force()
	return self.listed
end

--- The route of a request, as kms.http.router matches it.
function RouteTable:match(method, path)
	return self.router:match(method, path)
end

local function admit_as(self, inbound, name)
	local entry, limiter = self.entries[name], self.limiters[name]
	if not entry then return err.reply("ERR_NO_ROUTE") end
	inbound.max_body = entry.max_body
	if not limiter then return nil end
	local ok, wait_s = inbound:within(limiter.bucket, self.mono_ms())
	if ok then return nil end
	return err.reply("ERR_RATE", "too many requests from this address", { ["Retry-After"] = wait_s })
end

--- Applies what routes.lua says about a request whose route is known.
-- @param inbound kms.http.inbound; sets its max_body
-- @return nil to go on, or the reply that refuses it
function RouteTable:admit(inbound)
	local route = inbound.route
	return admit_as(self, inbound, route.without_key and route.path and handler_of(route, inbound.request) or route.name)
end

--- The same about one operation of a message (kms.http.inbound).
function RouteTable:admit_operation(inbound)
	return admit_as(self, inbound, inbound.route.name)
end

--- Whether routes.lua has a route with this name.
function RouteTable:has(name)
	return self.entries[name] ~= nil
end

--- The routes in force for GET /, each as "GET /status".
function RouteTable:endpoints()
	local list = {}
	for _, route in ipairs(self.listed) do
		local path = route.path or route.prefix .. "<key>"
		if path ~= "/" then list[#list + 1] = route.method .. " " .. path end
	end
	return list
end

--- @param deps policy (kms.policy); config (MAX_REQUEST_BODY_BYTES, MAX_SYNC_PAYLOAD_BYTES and what routes.lua
-- refers to); own: the node's routes (kms.http.router); node_facts: function() -> kms.policy.facts' node, for
-- extra routes; mono_ms
function M.new(deps)
	local self = setmetatable(needs.take(deps, "policy config own node_facts mono_ms"), RouteTable)
	self.limiters = {}
	self:rebuild()
	return self
end

return M
