--- The routes without authentication: overview, health, readiness, status, nonces, nodes.

local cjson = require("cjson")
local chain_api = require("kms.chain")
local err = require("kms.base.err")
local front = require("kms.routes.front")
local json_text = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")
local status_page = require("kms.routes.status")

local M = {}

local Public = {}
Public.__index = Public

local MAX_ADDRESSES = 65536
local JSON = { ["Content-Type"] = "application/json" }

local function json(value)
	return { status = 200, headers = JSON, body = cjson.encode(value) }
end

local HEALTHY = json({ status = "healthy" })

local function overview(self, inbound)
	local page = front.reply(inbound.request)
	if page then return page end
	return json({ service = "nova-kms", version = native.version, endpoints = self.endpoints() })
end

local function health()
	return HEALTHY
end

local function ready(self)
	if self.readiness.ready then return json({ ready = true }) end
	return err.reply("ERR_NOT_READY", self.readiness.reason)
end

local function status(self)
	-- cjson would write its lists that are empty as {}.
	return { status = 200, headers = JSON, body = json_text.encode(self.status:page()) }
end

local function nonce(self, inbound)
	local ok, wait_s = inbound:within(self.limiter, self.mono_ms())
	if not ok then return err.reply("ERR_RATE", "too many nonces for this address", { ["Retry-After"] = wait_s }) end
	local text, message, code = self.nonces:issue()
	if not text then return err.reply(code, message, { ["Retry-After"] = 1 }) end
	return { status = 200, headers = JSON, body = '{"nonce":"' .. text .. '"}' }
end

-- What the last call of a member showed; serving this page calls nobody.
local function connection(self, wallet)
	local peer = self.peers:peer(wallet)
	local probed = peer and peer.probed_ms
	local responded = probed and peer.probe_status ~= nil
	return {
		in_peer_cache = true, cached_status = self.peers:state(wallet),
		status_endpoint_reachable = probed and responded or cjson.null,
		status_endpoint_http_code = responded and peer.probe_status or cjson.null,
		status_probe_ms = responded and peer.probe_ms or cjson.null, status_checked_at_ms = probed or cjson.null,
	}
end

local function operator(self, instance)
	local id_number = status_page.id_number
	return {
		operator = instance.wallet,
		instance = {
			instance_id = id_number(instance.id), app_id = id_number(instance.app_id),
			version_id = id_number(instance.version_id), operator = instance.operator,
			instance_url = instance.url, tee_wallet = instance.wallet, zk_verified = instance.zk_verified,
			instance_status = {
				value = instance.status, name = chain_api.instance_status_name(instance.status),
			},
			registered_at = instance.registered_at,
		},
		connection = connection(self, instance.wallet),
	}
end

local function nodes(self)
	local operators = {}
	for i, instance in ipairs(self.peers:list()) do operators[i] = cjson.encode(operator(self, instance)) end
	-- cjson would write an empty list as {}.
	return {
		status = 200, headers = JSON,
		body = ('{"count":%d,"operators":[%s]}'):format(#operators, table.concat(operators, ",")),
	}
end

--- The routes of this module, for kms.policy.route_table.
-- @return list of { name, method, path, handler, unlimited (no rate limit by address) }
function Public:routes()
	local function with(handler)
		return function(inbound) return handler(self, inbound) end
	end
	return {
		{ name = "overview", method = "GET", path = "/", handler = with(overview) },
		{ name = "health", method = "GET", path = "/health", handler = health, unlimited = true },
		{ name = "ready", method = "GET", path = "/ready", handler = with(ready), unlimited = true },
		{ name = "status", method = "GET", path = "/status", handler = with(status) },
		{ name = "nonce", method = "GET", path = "/nonce", handler = with(nonce) },
		{ name = "nodes", method = "GET", path = "/nodes", handler = with(nodes) },
	}
end

--- @param deps endpoints: function() -> texts (kms.policy.route_table); status (kms.routes.status); readiness
-- (fields ready, reason); nonces (kms.auth.nonces); peers; mono_ms; config (NONCE_RATE_LIMIT_PER_MINUTE)
function M.new(deps)
	local self = needs.take(deps, "endpoints status readiness nonces peers mono_ms config")
	self.limiter = rate_limit.per_minute(self.config.NONCE_RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	return setmetatable(self, Public)
end

return M
