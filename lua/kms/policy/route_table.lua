--- The routes that exist: the node's own as far as routes.lua has them, and the operator's extra ones;
-- and what routes.lua limits of each. Made anew for each set of policies.

local cjson = require("cjson")
local err = require("kms.base.err")
local facts = require("kms.policy.facts")
local native = require("kms_native")
local router = require("kms.http.router")

local M = {}

local Table = {}
Table.__index = Table

local MAX_ADDRESSES = 65536
local MAX_FILL_MINUTES = 50000000 -- which is as good as never, and what a limiter takes

-- Handlers of routes.lua that a route stands for: one without a key in its path is a listing, or
-- with ?key= a record's.
local function handlers_of(route)
	if route.without_key and route.path then return { route.name, route.without_key.name } end
	return { route.name }
end

local function handler_of(route, request)
	if not (route.without_key and route.path) then return route.name end
	local key = request.query and native.http_query(request.query, "key")
	return key and route.name or route.without_key.name
end

-- What a body may have where routes.lua says nothing: more it cannot say either.
local function most_of(config, name)
	return name == "sync" and config.MAX_SYNC_PAYLOAD_BYTES or config.MAX_REQUEST_BODY_BYTES
end

-- A limit keeps its counts where a reload has not changed it.
local function limiter_for(self, name, entry)
	if not entry.rate then return nil end
	local old = self.limiters[name]
	if old and old.rate == entry.rate and old.burst == entry.burst then return old end
	local burst = math.min(entry.burst, entry.rate * MAX_FILL_MINUTES)
	return { rate = entry.rate, burst = entry.burst, bucket = assert(native.limiter(entry.rate, burst, MAX_ADDRESSES)) }
end

local function answer_extra(node, _, route)
	local page = node.policy:extra(route.number, facts.node(node))
	-- Not everything that is plain data has a form in JSON.
	local ok, body = pcall(cjson.encode, page)
	if not page or not ok then return err.reply("ERR_STATE") end
	return { status = 200, headers = { ["Content-Type"] = "application/json" }, body = body }
end

local function extra_routes(self, entries)
	local routes = {}
	for i, extra in ipairs(self.policy:extra_routes(self.config)) do
		local name = "extra/" .. extra.name
		entries[name] = { rate = extra.rate, burst = extra.burst }
		routes[i] = { name = name, method = "GET", path = extra.path, handler = answer_extra, number = extra.number }
	end
	return routes
end

local function exists(entries, route)
	for _, name in ipairs(handlers_of(route)) do
		if entries[name] then return true end
	end
	return false
end

--- Makes the router for the policies in force. Nothing changes before all of it is made.
function Table:rebuild()
	local entries, routes, limiters = self.policy:routes(self.config), {}, {}
	local extra = extra_routes(self, entries)
	for _, list in ipairs({ self.own, extra }) do
		for _, route in ipairs(list) do routes[#routes + 1] = route end
	end
	for name, entry in pairs(entries) do
		limiters[name] = limiter_for(self, name, entry)
		entry.max_body = entry.max_body or most_of(self.config, name)
	end
	self.entries, self.limiters, self.router = entries, limiters, router.new(routes)
	for _, route in ipairs(routes) do route.disabled = not exists(entries, route) end
end

--- What routes.lua says of a request that has a route: nothing where it may go on, else the answer.
-- Leaves the limit of its body on the request.
function Table:admit(node, request, route)
	local name = handler_of(route, request)
	local entry, limiter = self.entries[name], self.limiters[name]
	if not entry then return err.reply("ERR_NO_ROUTE") end
	request.max_body = entry.max_body
	if not limiter then return nil end
	local ok, wait_s = node:within_address_limit(limiter.bucket, request, node.mono_ms())
	if ok then return nil end
	return err.reply("ERR_RATE", "too many requests from this address", { ["Retry-After"] = wait_s })
end

--- For GET /: the routes that exist, as "GET /status".
function Table:endpoints()
	local list = {}
	for _, route in ipairs(self.router:routes()) do
		local path = route.path or route.prefix .. "<key>"
		if not route.disabled and path ~= "/" then list[#list + 1] = route.method .. " " .. path end
	end
	return list
end

--- @param policy, config; @param own routes of the node
function M.new(policy, config, own)
	local self = setmetatable({ policy = policy, config = config, own = own, limiters = {} }, Table)
	self:rebuild()
	return self
end

return M
