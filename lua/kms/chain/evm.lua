--- Chain backend `evm`: NovaAppRegistry and KMSRegistry over JSON-RPC (docs/protocol.md section 14,
-- docs/protocol.md section 10).
--
-- A tick reads everything at one block; begin_tick chooses it. Between ticks the tick's view
-- stays, except where a caller asks for a fresh one.

local head = require("kms.chain.head")
local native = require("kms_native")
local rpc = require("kms.chain.rpc")
local snapshot = require("kms.chain.snapshot")
local transaction = require("kms.chain.hash_publisher")
local types = require("kms.config.types")

local M = {}

local Chain = {}
Chain.__index = Chain

--- Chooses the block that this tick reads at: on the right chain, fresh, and no step back.
-- @return true | nil, message, "ERR_CHAIN"; then there is no view until a later one succeeds
function Chain:begin_tick()
	local view, message, code = self.heads:read()
	self.tick = view and snapshot.new(self.source, view) or nil
	if not view then return nil, message, code end
	return true
end

local function in_tick(self)
	if self.tick then return self.tick end
	return nil, "there is no view of the chain", "ERR_CHAIN"
end

--- A view of its own, at a block of at most a second ago: what a decision about a caller needs.
-- @return an object with the reading methods of this one | nil, message, "ERR_CHAIN"
function Chain:snapshot()
	local view, message, code = self.heads:recent()
	if not view then return nil, message, code end
	return snapshot.new(self.source, view)
end

--- The newest block when the tick began. Its time_ms is what the age of the view counts from;
-- read_at is the number of the block that the tick reads at.
function Chain:head()
	local tick, message, code = in_tick(self)
	if not tick then return nil, message, code end
	return { number = tick.view.number, time_ms = tick.view.time_ms, read_at = tick.view.read_at }
end

-- The tick's view, or where the last argument says so, one of this moment.
local function reader(self, options)
	if not (options and options.fresh) then return in_tick(self) end
	local view, message, code = self.heads:read()
	if not view then return nil, message, code end
	return snapshot.new(self.source, view)
end

--- The instance of a wallet; options.fresh: read anew, at a block of now.
function Chain:instance_by_wallet(wallet, options)
	local view, message, code = reader(self, options)
	if not view then return nil, message, code end
	return view:instance_by_wallet(wallet)
end

--- An application by id (decimal text).
function Chain:app(app_id, options)
	local view, message, code = reader(self, options)
	if not view then return nil, message, code end
	return view:app(app_id)
end

--- A version of an application.
function Chain:version(app_id, version_id, options)
	local view, message, code = reader(self, options)
	if not view then return nil, message, code end
	return view:version(app_id, version_id)
end

--- Wallets of an application's active instances.
function Chain:active_instances(app_id)
	local view, message, code = in_tick(self)
	if not view then return nil, message, code end
	return view:active_instances(app_id)
end

--- The hash of the cluster's master secret.
function Chain:master_secret_hash()
	local view, message, code = in_tick(self)
	if not view then return nil, message, code end
	return view:master_secret_hash()
end

--- Sends setMasterSecretHash, signed by the TEE's wallet.
-- @return true: sent or under way | nil, message, "ERR_CHAIN"
function Chain:set_master_secret_hash(hash, tee)
	return self.sender:send(hash, tee)
end

--- Calls of RPC servers and failures of those since the start.
function Chain:counts()
	return self.source.rpc:counts()
end

--- Stops what runs in the background.
function Chain:close()
	self.sender:close()
end

--- @param deps config, log, wall_ms; mono_ms, poll_ms, stuck_ms for specs
-- @return chain | nil, message
function M.open(deps)
	local config, mono_ms = deps.config, deps.mono_ms or native.mono_ms
	local contracts = { registry = config.NOVA_APP_REGISTRY_ADDRESS, kms = config.KMS_REGISTRY_ADDRESS }
	for name, key in pairs({ registry = "NOVA_APP_REGISTRY_ADDRESS", kms = "KMS_REGISTRY_ADDRESS" }) do
		if not contracts[name] then
			return nil, ("variable %s: not set, CHAIN=evm needs the contract's address"):format(key)
		end
	end
	local self = setmetatable({}, Chain)
	local servers = rpc.new({
		urls = config.HELIOS_RPC_URL, log = deps.log, mono_ms = mono_ms,
		agree = config.IN_ENCLAVE and not types.all_loopback(config.HELIOS_RPC_URL),
	})
	self.heads = head.new({
		rpc = servers, config = config, log = deps.log, wall_ms = deps.wall_ms, mono_ms = mono_ms,
	})
	self.source = { rpc = servers, head = self.heads, contracts = contracts }
	self.sender = transaction.new({
		rpc = servers, head = self.heads, contract = contracts.kms, log = deps.log, mono_ms = mono_ms,
		poll_ms = deps.poll_ms, stuck_ms = deps.stuck_ms,
	})
	return self
end

return M
