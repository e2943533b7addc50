--- TEE backend `nitro`: keys that are made at each start, from the random generators of the Nitro Security Module and
-- the kernel together, and stay in guarded memory. They are never stored: after a restart, the node registers anew.

local native = require("kms_native")
local own_keys = require("kms.tee.own_keys")

local M = {}

local Nitro = setmetatable({}, own_keys.Keys)
Nitro.__index = Nitro

-- A failure of the module. The message is for the log (ERR_TEE is private).
local function failed(message)
	return nil, message, "ERR_TEE"
end

--- Makes 32 random bytes for a new cluster's master secret.
-- @return secret | nil, message, code
function Nitro:random_secret()
	local secret, message = self.module:random_secret()
	if not secret then return failed(message) end
	return secret
end

--- Makes an attestation document (COSE_Sign1) over the arguments, each bytes or nil: at most 512 bytes of nonce and
-- user_data each, 1024 of public_key.
-- @return document | nil, message, code
function Nitro:attest(nonce, user_data, public_key)
	local document, message, code = self.module:attest(nonce, user_data, public_key)
	if document then return document end
	if code == "ERR_RANGE" then return nil, message, code end
	return failed(message)
end

-- Logs a description of the module. The node starts without one, too.
local function announce(module, wallet, log)
	local description, message = module:describe()
	if not description then
		log:warn("the security module gives no description of itself", { cause = message })
		description = {}
	end
	log:info("made keys in the enclave", {
		wallet = wallet:address(), module = description.module_id, version = description.version,
		pcrs = description.max_pcrs, locked_pcrs = description.locked_pcrs,
	})
end

--- Opens the module and makes the keys.
-- @param deps log, channels
-- @return backend | nil, message
function M.open(deps)
	local module, message = native.nsm_open()
	if not module then return nil, "TEE=nitro: " .. message end
	local wallet, p384 = module:identity()
	if not wallet then
		message = p384
		return nil, "TEE=nitro: " .. message
	end
	announce(module, wallet, deps.log)
	return own_keys.new(Nitro, {
		name = "nitro", module = module, wallet = wallet, p384 = p384, channels = deps.channels,
	})
end

return M
