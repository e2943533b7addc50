--- Who is asking: proof of possession, registry, limits; all from the headers, before the
-- body is read (docs/protocol.md sections 3 to 5).

local native = require("kms_native")

local M = {}

local Auth = {}
Auth.__index = Auth

-- The shortcut of section 4 for development: a wallet named without proof.
local function dev_wallet(self, request)
	if not self.allow_dev_identity then return nil end
	if request:header("x-app-signature") or request:header("x-app-nonce") or request:header("x-app-timestamp") then
		return nil
	end
	local named = request:header("x-tee-wallet")
	return named and native.address(named)
end

local function within_limits(self, facts, mono_ms)
	local limiter = self.limiter
	if not limiter then return true end
	local ok, wait_s = limiter:take("w" .. facts.wallet:sub(13), mono_ms)
	if not ok then return false, wait_s end
	return limiter:take("a" .. facts.app_id, mono_ms)
end

--- Authenticates and authorises an application's request.
-- @return caller {wallet, signature, response (signature of the answer, where it is there already),
-- app_id, version_id, instance_id, point, dev} |
-- nil, message, code, seconds to wait (ERR_RATE, ERR_BUSY), wallet (where it is proven)
function Auth:app(request, wall_ms, mono_ms)
	local wallet, signature, code, response
	local dev = dev_wallet(self, request)
	if dev then
		wallet, signature = dev, ""
	else
		wallet, signature, response = self.service:authenticate(request.head, "app", wall_ms, mono_ms)
		if not wallet then return nil, signature, response end
	end
	local facts, message, _, wait_s
	facts, message, code, _, wait_s = self.registry:authorize(wallet, mono_ms)
	if not facts then return nil, message, code, wait_s, wallet end
	local ok
	ok, wait_s = within_limits(self, facts, mono_ms)
	if not ok then return nil, "too many requests of this application", "ERR_RATE", wait_s, wallet end
	if not dev and not response then self.service:know(wallet) end
	return {
		wallet = wallet, signature = signature, response = response, app_id = facts.app_id,
		version_id = facts.version_id, instance_id = facts.instance_id, point = facts.point, dev = dev ~= nil,
	}
end

--- @param deps service (native), registry, config, limiter (nil: APP_RATE_LIMIT_PER_MINUTE is 0)
function M.new(deps)
	return setmetatable({
		service = deps.service, registry = deps.registry, limiter = deps.limiter,
		allow_dev_identity = not deps.config.IN_ENCLAVE and deps.config.ALLOW_DEV_IDENTITY,
	}, Auth)
end

return M
