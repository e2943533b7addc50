--- Opens what the rest of a node is built on: clocks, the TEE, the store, the native service that executes
-- requests, the policies and the chain.

local chain = require("kms.chain")
local clock = require("kms.base.clock")
local files = require("kms.base.files")
local identity = require("kms.node.identity")
local native = require("kms_native")
local policy = require("kms.policy")
local rules = require("kms.config.rules")
local settings = require("kms.config")
local sim = require("kms.tee.sim")
local tee = require("kms.tee")

local M = {}

local ABANDONED_S = 3600 -- age of a new file that no other node of the folder is writing any more

-- The application that a local chain registers, to try the node with.
local DEMO_APP_ID, OTHER_DEMO_APP_ID = "1000", "1001"

-- Whether the folder holds what only one node may be or decide: the identity of TEE=sim, the registry of CHAIN=local.
local function is_exclusive(config)
	return config.TEE == "sim" or config.CHAIN == "local"
end

-- Returns true | nil, message.
local function lock_folder(dir)
	local ok, message, code = native.lock_file(dir .. "/lock")
	if ok then return true end
	if code == "ERR_BUSY" then message = "another node uses it" end
	return nil, ("data folder %s: %s"):format(dir, message)
end

-- Returns true | nil, message.
local function open_folder(config)
	local dir = config.DATA_DIR
	local ok, message = files.make_dir(dir)
	if not ok then return nil, message end
	-- A user who can write there decides which applications get keys.
	ok, message = files.check_dir(dir)
	if not ok then return nil, message end
	local exclusive = is_exclusive(config)
	if exclusive then
		ok, message = lock_folder(dir)
		if not ok then return nil, message end
	end
	files.remove_unfinished(dir, exclusive and 0 or ABANDONED_S)
	return true
end

--- Makes the store. It learns this node's wallet from kms.node.identity.
function M.new_store(config)
	return assert(native.store({
		max_key = config.MAX_KEY_BYTES, max_value = config.MAX_KV_VALUE_SIZE_BYTES,
		max_app_bytes = config.MAX_APP_STORAGE_BYTES, max_app_total = rules.app_total(config),
		max_total_bytes = config.MAX_TOTAL_STORAGE_BYTES,
		max_namespaces = config.MAX_NAMESPACES, max_tombstones = config.MAX_TOMBSTONES_PER_APP,
		tombstone_retention_ms = config.TOMBSTONE_RETENTION_MS, max_clock_skew_ms = config.MAX_CLOCK_SKEW_MS,
	}))
end

local function new_service(config, core)
	return assert(native.service({
		wallet = core.tee.wallet, p384 = core.tee.p384, nonces = core.native_nonces, channels = core.channels,
		store = core.store, max_value = config.MAX_KV_VALUE_SIZE_BYTES, max_key = config.MAX_KEY_BYTES,
		max_list = config.MAX_LIST_BYTES, pop_window_s = config.POP_TIMEOUT_SECONDS,
	}))
end

-- The identity of a local chain's demo application. Returns { wallet, tee_pubkey, app_id } | nil, message.
local function demo_identity(config)
	local seed, message = sim.seed(config.DATA_DIR .. "/demo-app.seed")
	if not seed then return nil, message end
	local wallet, p384 = native.identity(seed)
	if not wallet then
		message = p384
		return nil, message
	end
	local app_id = config.KMS_APP_ID == DEMO_APP_ID and OTHER_DEMO_APP_ID or DEMO_APP_ID
	return { wallet = wallet:address(), tee_pubkey = p384:public_der(), app_id = app_id }
end

-- Returns chain | nil, message.
local function open_chain(core)
	local config = core.config
	local demo, message
	if config.CHAIN == "local" then
		demo, message = demo_identity(config)
		if not demo then return nil, message end
	end
	return chain.open({
		config = config, log = core.log, demo = demo, wall_ms = core.wall_ms, machine_ms = native.wall_ms,
	})
end

--- Opens all of it. Waits for nobody.
-- @param shipped folder of the shipped policies
-- @return core { config, log, clock, wall_ms, mono_ms, url (this node's until the chain names one), channels, tee,
--   store, native_nonces, service, policy, chain, identity (kms.node.identity) } | nil, message, or a list of what is
--   wrong with the policies
function M.open(config, log, shipped)
	local core = { config = config, log = log, mono_ms = native.mono_ms }
	core.clock = clock.new({
		wall_ms = native.wall_ms, mono_ms = native.mono_ms, max_skew_ms = config.MAX_CLOCK_SKEW_MS,
	})
	-- The node's parts read this clock, never the machine's.
	core.wall_ms = function() return core.clock:now() end
	core.url = config.NODE_INSTANCE_URL or ("http://" .. config.BIND_ADDR)
	local ok, message = open_folder(config)
	if not ok then return nil, message end
	core.channels = assert(native.channels(config.MAX_CHANNELS))
	core.tee, message = tee.open({ config = config, log = log, channels = core.channels })
	if not core.tee then return nil, message end
	core.store, core.native_nonces = M.new_store(config), assert(native.nonces(config.POP_TIMEOUT_SECONDS))
	core.service = new_service(config, core)
	core.policy, message = policy.open({
		native = native, dir = config.POLICY_DIR, shipped = shipped,
		required = settings.origin(config, "POLICY_DIR") ~= "default", wall_ms = core.wall_ms, mono_ms = core.mono_ms,
		log = log, store = core.store,
	})
	if not core.policy then return nil, message end
	core.chain, message = open_chain(core)
	if not core.chain then return nil, message end
	core.identity = identity.new({
		tee = core.tee, chain = core.chain, store = core.store, service = core.service, url = core.url, log = log,
	})
	-- What a service in another process says is awaited by kms.node.readiness.
	if core.tee.address then ok, message = core.identity:learn() end
	if not ok then return nil, message end
	return core
end

return M
