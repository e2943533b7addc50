--- Who may ask: application instances by wallet, from the chain, cached (wire-protocol section 5).

local lru = require("kms.lru")
local chain_api = require("kms.chain")
local native = require("kms_native")
local types = require("kms.types")

local M = {}

local Registry = {}
Registry.__index = Registry

local MAX_KNOWN = 10000
local MAX_UNKNOWN = 10000
local UNKNOWN_TTL_MS = 10000

local function refuse(message)
	return nil, message, "ERR_UNAUTHORIZED"
end

-- A look-up that did not answer is no answer: nothing is cached, the request is refused.
local function lookup_failed(message, code, missing)
	if code == "ERR_NOT_FOUND" then return refuse(missing) end
	return nil, "the registry cannot be reached", "ERR_CHAIN", message
end

-- The checks of section 5, in their order.
local function authorize(self, wallet)
	local instance, message, code = self.chain:instance_by_wallet(wallet)
	if not instance then return lookup_failed(message, code, "wallet is not a registered instance") end
	if instance.status ~= chain_api.INSTANCE.ACTIVE then return refuse("instance is not active") end
	if not instance.zk_verified then return refuse("instance is not verified") end
	if not types.app_id.parse(instance.app_id) then return refuse("app id is not in the range of app ids") end
	local app
	app, message, code = self.chain:app(instance.app_id)
	if not app then return lookup_failed(message, code, "app is not registered") end
	if app.status ~= chain_api.APP.ACTIVE then return refuse("app is not active") end
	local version
	version, message, code = self.chain:version(instance.app_id, instance.version_id)
	if not version then return lookup_failed(message, code, "version is not registered") end
	if version.status ~= chain_api.VERSION.ENROLLED and version.status ~= chain_api.VERSION.DEPRECATED then
		return refuse("version is revoked")
	end
	local point = native.peer_point(instance.tee_pubkey)
	if not point then return refuse("registered teePubkey is not a P-384 key") end
	return {
		wallet = wallet, app_id = instance.app_id, version_id = instance.version_id,
		instance_id = instance.id, point = point,
	}
end

--- Whether a wallet may use the application routes.
-- @param wallet canonical text
-- @param mono_ms monotonic time
-- @return facts {wallet, app_id, version_id, instance_id, point (97 bytes)} | nil, message,
-- code, cause for the log: ERR_UNAUTHORIZED (the chain says no) or ERR_CHAIN (it says nothing)
function Registry:authorize(wallet, mono_ms)
	local facts = self.known:get(wallet, mono_ms)
	if facts then return facts end
	local refusal = self.unknown:get(wallet, mono_ms)
	if refusal then return refuse(refusal) end
	local message, code, cause
	facts, message, code, cause = authorize(self, wallet)
	if facts then
		self.known:put(wallet, facts, mono_ms + self.ttl_ms)
	elseif code == "ERR_UNAUTHORIZED" then
		self.unknown:put(wallet, message, mono_ms + math.min(UNKNOWN_TTL_MS, self.ttl_ms))
	end
	return facts, message, code, cause
end

--- @param chain a backend (kms.chain)
-- @param ttl_ms how long a positive answer counts
function M.new(chain, ttl_ms)
	return setmetatable({
		chain = chain, ttl_ms = ttl_ms, known = lru.new(MAX_KNOWN), unknown = lru.new(MAX_UNKNOWN),
	}, Registry)
end

return M
