--- The chain as one RPC server shows it, for commands that ask several, each by itself.

local chain_api = require("kms.chain")

local M = {}

local RPC_TIMEOUT_MS = 15000
local MAX_HEAD_AGE_S, MAX_AHEAD_MS = 600, 300000 -- the clock of this machine may be off
local NONE = "0x" .. ("0"):rep(39) .. "1" -- an address that is not asked

local QUIET = setmetatable({}, { __index = function() return function() end end }) -- a log

--- Opens it.
-- @param names  id (of the chain; 0: any), kms_registry; registry and app_id, where those are asked for
-- @return chain | nil, message
function M.open(native, names, url)
	return chain_api.open({
		log = QUIET, wall_ms = native.wall_ms, config = {
			CHAIN = "evm", HELIOS_RPC_URL = { url }, RPC_TIMEOUT_MS = RPC_TIMEOUT_MS, IN_ENCLAVE = false,
			KMS_NODE_TICK_SECONDS = 60, CHAIN_ID = names.id, CHAIN_CONFIRMATIONS = 0, MAX_HEAD_AGE_SECONDS = MAX_HEAD_AGE_S,
			MAX_CLOCK_SKEW_MS = MAX_AHEAD_MS, NOVA_APP_REGISTRY_ADDRESS = names.registry or NONE,
			KMS_REGISTRY_ADDRESS = names.kms_registry, KMS_APP_ID = names.app_id,
		},
	})
end

return M
