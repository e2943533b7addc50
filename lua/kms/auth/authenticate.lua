--- Authenticates applications: proof of possession, registration, rate limits. Everything is decided by the
-- headers, before the body is read (docs/protocol.md sections 3 to 5).

local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local Authenticator = {}
Authenticator.__index = Authenticator

-- The development shortcut (docs/protocol.md section 4): a wallet that is named without proof.
local function dev_wallet(request)
	if request:header("x-app-signature") or request:header("x-app-nonce") or request:header("x-app-timestamp") then
		return nil
	end
	local named = request:header("x-tee-wallet")
	return named and native.address(named)
end

--- Counts one request, or one operation of a message, in the limits of its wallet and of its application.
-- @param facts kms.auth.authorize
-- @return true | false, seconds until the next one
function Authenticator:count(facts, mono_ms)
	local ok, wait_s = self.limiter:take(facts.wallet_key, mono_ms)
	if not ok then return false, wait_s end
	return self.limiter:take(facts.app_key, mono_ms)
end

-- What the chain says about a wallet that has signed. Results as Authenticator:app.
local function authorized(self, wallet, mono_ms, address)
	local facts, message, code, wait_s, app_id = self.authorizer:authorize(wallet, mono_ms, address)
	if not facts then return nil, message, code, wait_s, wallet, app_id end
	local ok
	ok, wait_s = self:count(facts, mono_ms)
	if not ok then return nil, "too many requests of this application", "ERR_RATE", wait_s, wallet end
	return facts
end

--- Authenticates and authorizes an application's request.
-- @param request kms.http.request
-- @param address the client's, nil when all clients share one
-- @return caller { wallet, signature ("" of a development wallet), response (signature of the reply, when it
-- was made already), dev, app_id, version_id, instance_id, point } |
-- nil, message, code, seconds to wait (ERR_RATE, ERR_BUSY), wallet (when it is proven), id of its application (of an
-- instance that is registered, but refused)
function Authenticator:app(request, wall_ms, mono_ms, address)
	local dev = self.allow_dev_identity and dev_wallet(request)
	local wallet, signature, response = dev, "", nil
	if not dev then
		wallet, signature, response = self.service:authenticate(request.head, "app", wall_ms, mono_ms)
		if not wallet then
			local message, code = signature, response
			return nil, message, code
		end
	end
	local facts, message, code, wait_s, _, app_id = authorized(self, wallet, mono_ms, address)
	if not facts then return nil, message, code, wait_s, wallet, app_id end
	if not dev and not response then self.service:know(wallet) end
	return {
		wallet = wallet, signature = signature, response = response, dev = dev and true or false, app_id = facts.app_id,
		version_id = facts.version_id, instance_id = facts.instance_id, point = facts.point,
	}
end

--- Authenticates and authorizes the opening of a session, whose signature covers the collected body.
-- @return facts of kms.auth.authorize, signature text | nil, message, code, seconds to wait, wallet, application: as
-- app()
function Authenticator:app_session(request, wall_ms, mono_ms, address)
	local wallet, signature, code = self.service:authenticate(request.head, "app_session", wall_ms, mono_ms)
	if not wallet then return nil, signature, code end
	local facts, message, wait_s, _, app_id
	facts, message, code, wait_s, _, app_id = authorized(self, wallet, mono_ms, address)
	if not facts then return nil, message, code, wait_s, wallet, app_id end
	return facts, signature
end

--- @param deps service (native); authorizer (kms.auth.authorize); config (APP_RATE_LIMIT_PER_MINUTE,
-- MAX_NAMESPACES, IN_ENCLAVE, ALLOW_DEV_IDENTITY)
function M.new(deps)
	local self = needs.take(deps, "service authorizer config")
	local config = self.config
	-- Two keys an application: its own and its instance's wallet.
	self.limiter = rate_limit.per_minute(config.APP_RATE_LIMIT_PER_MINUTE, 2 * config.MAX_NAMESPACES)
	self.allow_dev_identity = not config.IN_ENCLAVE and config.ALLOW_DEV_IDENTITY
	return setmetatable(self, Authenticator)
end

return M
