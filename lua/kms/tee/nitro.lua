--- TEE backend `nitro`: keys made at the start from the generators of the Nitro Security Module
-- and of the kernel together, in guarded memory of this process. They are never stored: a node
-- that restarts is a new one and registers anew.

local native = require("kms_native")
local own_keys = require("kms.tee.own_keys")

local M = {}

local Nitro = setmetatable({}, own_keys.Keys)
Nitro.__index = Nitro

-- The module is a service like others: what it does not do is ERR_TEE, the reason is for the log.
local function failed(message)
	return nil, message, "ERR_TEE"
end

--- 32 fresh bytes for a new cluster's master secret.
function Nitro:random_secret()
	local secret, message = self.module:random_secret()
	if not secret then return failed(message) end
	return secret
end

--- An attestation document (COSE_Sign1) over what is given, each a string or nil: at most 512
-- bytes of nonce and of user_data, 1024 of public_key.
-- @return document | nil, message, code
function Nitro:attest(nonce, user_data, public_key)
	local document, message, code = self.module:attest(nonce, user_data, public_key)
	if document then return document end
	if code == "ERR_RANGE" then return nil, message, code end
	return failed(message)
end

-- What the log says of the module; a description that cannot be read does not stop the node.
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

--- @param deps log, channels
-- @return backend | nil, message
function M.open(deps)
	local module, message = native.nsm_open()
	if not module then return nil, "TEE=nitro: " .. message end
	local wallet, p384 = module:identity()
	if not wallet then return nil, "TEE=nitro: " .. p384 end
	announce(module, wallet, deps.log)
	return own_keys.new(Nitro, {
		name = "nitro", module = module, wallet = wallet, p384 = p384, channels = deps.channels,
	})
end

return M
