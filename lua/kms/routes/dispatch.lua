--- Serves a request: finds its route, applies the limits by address and routes.lua, calls the route's
-- handler, then counts and logs the outcome.

local uv = require("luv")
local conditions = require("kms.http.conditions")
local cors = require("kms.http.cors")
local err = require("kms.base.err")
local host = require("kms.http.host")
local inbound = require("kms.http.inbound")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")
local router = require("kms.http.router")

local M = {}

local Dispatcher = {}
Dispatcher.__index = Dispatcher

local MAX_ADDRESSES = 65536

-- Bodies are taken as they are; a coding would be taken for content (RFC 9110 section 8.4).
local function refuse_coding(request)
	local coding = request.has_body and request:header("content-encoding")
	if not coding or coding == "" or coding:lower() == "identity" then return nil end
	return err.reply("ERR_CODING", "bodies have no Content-Encoding", { ["Accept-Encoding"] = "identity" })
end

-- Each route is { name, method, path or prefix, handler (function(inbound) -> reply), unlimited }; a reply is
-- { status, headers, body, code (name of the error, for the log), wait_s (of a sealed reply: seconds that its client
-- has to wait, or nil) }.
local function dispatch(self, arrived)
	local request = arrived.request
	local route, rest, allow = self.routes:match(request.method, request.path)
	if not route then
		local why = rest
		return router.unrouted(why, allow)
	end
	arrived.route, arrived.rest = route, rest
	if self.check_host and route.name == "status" and not host.is_local(request:host()) then
		return err.reply("ERR_FORBIDDEN", "Host must be an address or localhost")
	end
	if not route.unlimited and not request:is_exempt(route.name) then
		local ok, wait_s = arrived:within(self.limiter, self.mono_ms())
		if not ok then
			return err.reply("ERR_RATE", "too many requests from this address", { ["Retry-After"] = wait_s })
		end
	end
	local refused = self.routes:admit(arrived)
	if refused then return refused end
	if not request.rare_headers then return route.handler(arrived) end
	return refuse_coding(request) or conditions.heed(request, route.handler(arrived))
end

local function log_request(self, level, arrived, reply, taken_ns)
	local request, route = arrived.request, arrived.route
	self.log:log(level, "request", {
		request = request:id(), method = request.method, route = route and route.name, status = reply.status,
		ms = taken_ns // 1000000, remote = request.remote, wallet = arrived.wallet or nil, app = arrived.app_id,
		name = self.log:name(arrived.name), code = reply.code, rule = arrived.rule, reason = arrived.reason,
		suspended_rule = arrived.suspended_rule,
	})
end

-- Seconds for which a client beyond a limit is not read, or nil: a refusal costs as much as other replies. Only where
-- it has the connection for itself: behind a proxy or an ingress, others use it too.
local function pause_s(arrived, reply)
	if arrived.limit_address ~= arrived.request.remote then return nil end
	return reply.wait_s or tonumber(reply.headers["Retry-After"]) or 1
end

--- Counts and logs what a request came to, or one operation of its message.
-- @param arrived kms.http.inbound; @param reply status, code; @param taken_ns nanoseconds
function Dispatcher:note(arrived, reply, taken_ns)
	local status, route = reply.status, arrived.route
	self.requests:observe(route and route.name, reply, taken_ns)
	local level = status >= 500 and "warn" or arrived.wallet and "info" or "debug"
	if self.log:enabled(level) then log_request(self, level, arrived, reply, taken_ns) end
	self.audit:outcome(arrived, reply)
end

--- Serves one request, in a coroutine of its own.
-- @param request kms.http.request
-- @return status, headers, body, seconds for which the connection is not read or nil
function Dispatcher:handle(request)
	local began = uv.hrtime()
	local arrived = inbound.new(request, self.trusted, self.in_enclave)
	local reply = dispatch(self, arrived)
	local status = reply.status
	self:note(arrived, reply, uv.hrtime() - began)
	local headers = self.cors and self.cors:headers(request, reply) or reply.headers
	local is_limited = status == 429 or reply.wait_s
	return status, headers, reply.body, is_limited and pause_s(arrived, reply) or nil
end

--- @param deps routes (kms.policy.route_table), log, mono_ms; requests (kms.admin.metrics.requests); config
-- (RATE_LIMIT_PER_MINUTE, TRUSTED_PROXIES, CORS_ORIGINS, IN_ENCLAVE, BIND_ADDR); audit (kms.audit)
function M.new(deps)
	local self = needs.take(deps, "routes log mono_ms requests config audit")
	self.limiter = rate_limit.per_minute(self.config.RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	self.in_enclave = self.config.IN_ENCLAVE
	self.trusted = #self.config.TRUSTED_PROXIES > 0 and self.config.TRUSTED_PROXIES or nil
	self.cors = cors.new(self.config.CORS_ORIGINS)
	-- A proxy on the same machine passes the public name on.
	self.check_host = host.is_loopback(self.config.BIND_ADDR) and not self.trusted
	return setmetatable(self, Dispatcher)
end

return M
