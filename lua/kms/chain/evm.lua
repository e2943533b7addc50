--- Chain backend `evm`: NovaAppRegistry and KMSRegistry over JSON-RPC (docs/protocol.md sections 10 and 14).
--
-- A tick reads everything at one block, which begin_tick chooses. The methods use that block until the next tick,
-- unless they are asked for a fresh one.

local head = require("kms.chain.head")
local native = require("kms_native")
local needs = require("kms.base.needs")
local publisher = require("kms.chain.publisher")
local rpc = require("kms.chain.rpc")
local snapshot = require("kms.chain.snapshot")
local url = require("kms.config.url")

local M = {}

local Chain = {}
Chain.__index = Chain

-- A snapshot at the block of a view, of which is expected what was asked of the one before; or nil.
local function snapshot_at(self, view, before)
	return snapshot.new({ rpc = self.rpc, head = self.heads, contracts = self.contracts, view = view, before = before })
end

--- Does nothing: who this node is stands in the registry.
function Chain:introduce() -- luacheck: no self
	return true
end

--- Chooses the block that this tick reads at (kms.chain.head). After a failure there is no view until a later tick
-- succeeds.
-- @return true | nil, message, "ERR_CHAIN"
function Chain:begin_tick()
	local view, message, code = self.heads:read()
	self.tick = view and snapshot_at(self, view, self.tick) or nil
	if not view then return nil, message, code end
	return true
end

-- Returns the tick's snapshot | nil, message, code.
local function in_tick(self)
	if self.tick then return self.tick end
	return nil, "there is no view of the chain", "ERR_CHAIN"
end

--- A snapshot at a block of at most a second ago, to authorize a caller by.
-- @return kms.chain.snapshot | nil, message, "ERR_CHAIN"
function Chain:snapshot()
	local view, message, code = self.heads:recent()
	if not view then return nil, message, code end
	return snapshot_at(self, view)
end

--- The head when the tick began. The view's age counts from its time_ms.
-- @return { number, time_ms, read_at (number of the block that the tick reads at) } | nil, message, "ERR_CHAIN"
function Chain:head()
	local tick, message, code = in_tick(self)
	if not tick then return nil, message, code end
	return { number = tick.view.number, time_ms = tick.view.time_ms, read_at = tick.view.read_at }
end

-- The tick's snapshot, or with options.fresh, one at a block of now. Results as in_tick.
local function reader(self, options)
	if not (options and options.fresh) then return in_tick(self) end
	local view, message, code = self.heads:read()
	if not view then return nil, message, code end
	return snapshot_at(self, view)
end

--- The instance of a wallet.
-- @param options fresh: read at a block of now, past every cache; or nil
-- @return instance (kms.chain) | nil, message, code: ERR_NOT_FOUND, ERR_CHAIN
function Chain:instance_by_wallet(wallet, options)
	local view, message, code = reader(self, options)
	if not view then return nil, message, code end
	return view:instance_by_wallet(wallet)
end

--- An application by id (decimal text). Options and failures as for instance_by_wallet.
function Chain:app(app_id, options)
	local view, message, code = reader(self, options)
	if not view then return nil, message, code end
	return view:app(app_id)
end

--- A version of an application. Options and failures as for instance_by_wallet.
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

--- What the tick before has read, as it reads now (kms.chain.snapshot).
function Chain:contents()
	local view, message, code = in_tick(self)
	if not view then return nil, message, code end
	return view:contents()
end

--- The hash of the cluster's master secret.
function Chain:master_secret_hash()
	local view, message, code = in_tick(self)
	if not view then return nil, message, code end
	return view:master_secret_hash()
end

--- Sends setMasterSecretHash, signed by the TEE's wallet.
-- @return true: sent, or in flight already | nil, message, "ERR_CHAIN"
function Chain:set_master_secret_hash(hash, tee)
	return self.publisher:publish({ "setMasterSecretHash", hash }, tee)
end

--- Sends anchorSnapshot, signed by the TEE's wallet.
-- @param manifest "0x" + 64 digits; @param time_s Unix seconds
-- @return true: sent, or in flight already | nil, message, "ERR_CHAIN"
function Chain:anchor_snapshot(manifest, time_s, tee)
	return self.publisher:publish({ "anchorSnapshot", manifest, tostring(time_s) }, tee)
end

--- Whether an anchorSnapshot of this node is in flight.
function Chain:is_anchoring()
	return self.publisher:has_in_flight("anchorSnapshot")
end

--- How this node reads the chain, for /status.
-- @return { confirmations, unconfirmed: whether they are given up for now }
function Chain:describe()
	return { confirmations = self.heads.confirmations, unconfirmed = self.heads:is_unconfirmed() }
end

--- Calls of RPC servers since the start, and how many failed.
function Chain:counts()
	return self.rpc:counts()
end

--- Stops what runs in the background.
function Chain:close()
	self.publisher:close()
end

--- @param deps config, log, wall_ms; optional, for specs: mono_ms, poll_ms, stuck_ms (kms.chain.publisher);
-- demo and machine_ms are for the backend `local`
-- @return chain | nil, message
function M.open(deps)
	local self = setmetatable(needs.take(deps,
		"config log wall_ms", "demo machine_ms mono_ms poll_ms stuck_ms"), Chain)
	local config, log = self.config, self.log
	self.contracts = { registry = config.NOVA_APP_REGISTRY_ADDRESS, kms = config.KMS_REGISTRY_ADDRESS }
	self.mono_ms = self.mono_ms or native.mono_ms
	self.rpc = rpc.new({
		urls = config.HELIOS_RPC_URL, log = log, mono_ms = self.mono_ms,
		timeout_ms = config.RPC_TIMEOUT_MS, alone_ms = config.KMS_NODE_TICK_SECONDS * 1000,
		agree = config.IN_ENCLAVE and not url.all_loopback(config.HELIOS_RPC_URL),
	})
	self.heads = head.new({
		rpc = self.rpc, config = config, log = log, wall_ms = self.wall_ms, mono_ms = self.mono_ms,
	})
	self.publisher = publisher.new({
		rpc = self.rpc, head = self.heads, contract = self.contracts.kms, log = log, mono_ms = self.mono_ms,
		poll_ms = self.poll_ms, stuck_ms = self.stuck_ms,
	})
	return self
end

return M
