--- A request on its way through the node: the request itself, and what the node learns about it. The only
-- record that handlers, limits and policies share; nothing else is attached to a request. Its fields:
--
--   request         kms.http.request                                        set by new
--   address         the client's address, as policies see it                new
--   limit_address   the address to rate-limit by; nil behind an enclave's   new
--                   ingress, where all clients share one
--   route, rest     the route; the raw path behind its prefix, or nil       kms.routes.dispatch
--   max_body        most bytes of its body                                  kms.policy.route_table
--
-- and for the log, each nil until it is known:
--
--   wallet          the caller's; false until its signature is verified          kms.routes.app, kms.sync.route
--   is_member       whether that is the wallet of another node              kms.sync.callers
--   app_id          the caller's application                                kms.routes.app
--   refused_app_id  that of an instance that is registered, but refused     kms.routes.app, kms.sync.callers
--   name            path or key that it is about (the log hashes it)        kms.routes.app
--   operation_name  what it asks for, once its body is open                 kms.routes.operations
--   name_hash,      what stands for its name, and for a derivation's        kms.routes.operations
--   context_hash    context, in the audit log
--   rule, reason    the rule of a policy that refused it, and its reason    kms.policy.gateway
--   suspended_rule  the suspended rule that would have refused it           kms.policy.gateway

local client_address = require("kms.http.client_address")
local http_request = require("kms.http.request")

local M = {}

local Inbound = {}
Inbound.__index = Inbound

--- Counts the request against a limit by client address.
-- @param limiter with take_address (kms.base.rate_limit, native.limiter)
-- @return true | false, seconds until another one is allowed
function Inbound:within(limiter, mono_ms)
	if not self.limit_address then return true end
	return limiter:take_address(self.limit_address, mono_ms)
end

--- What the client is told when the announced body is longer than the limit, else nil. A length beyond 63 bits is
-- negative here.
-- @param limit bytes; nil: max_body
function Inbound:announces_too_much(limit)
	local announced, max_body = self.request.length or 0, limit or self.max_body
	if announced > max_body or announced < 0 then return http_request.too_large(max_body) end
	return nil
end

-- The route of an operation, by its name.
local routes = setmetatable({}, { __index = function(known, name)
	known[name] = { name = name }
	return known[name]
end })

--- One operation of a message that this request brought: a record of its own for limits, policies and the log.
-- @param name of the operation, which is that of its route: one of few
function Inbound:operation(name)
	return setmetatable({
		request = self.request, address = self.address, limit_address = self.limit_address, route = routes[name],
		wallet = self.wallet, app_id = self.app_id, max_body = self.max_body,
	}, Inbound)
end

--- @param request kms.http.request
-- @param trusted ranges of trusted proxies (kms.base.cidr), or nil
-- @param in_enclave IN_ENCLAVE
function M.new(request, trusted, in_enclave)
	local address = request.remote
	local limit_address = address
	if trusted or in_enclave then
		local forwarded = trusted and request:header("x-forwarded-for")
		address = client_address.resolve(request.remote, forwarded, trusted)
		limit_address = client_address.limited(request.remote, forwarded, trusted, in_enclave)
	end
	-- The fields that dispatching sets are named here so that the table has room for them from the start.
	return setmetatable({
		request = request, address = address, limit_address = limit_address, route = nil, rest = nil, max_body = nil,
		wallet = false, app_id = nil,
	}, Inbound)
end

return M
