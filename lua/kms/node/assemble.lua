--- Makes the parts of a node and connects them: each gets what it uses and nothing else. Nothing here decides.
--
-- Parts are made in the order in which they need each other. When two need each other, the earlier one gets a
-- function that finds the later one when it is called. `parts` never leaves kms.node.

local audit = require("kms.node.audit")
local attestation_routes = require("kms.routes.attestation")
local applications = require("kms.node.applications")
local bans = require("kms.peers.bans")
local clock_check = require("kms.node.clock_check")
local copies = require("kms.sync.copies")
local digest_route = require("kms.routes.digest")
local dispatch = require("kms.routes.dispatch")
local early_push = require("kms.sync.early_push")
local evidence = require("kms.sync.evidence")
local exchange = require("kms.sync.exchange")
local facts = require("kms.policy.facts")
local gateway = require("kms.policy.gateway")
local joining = require("kms.node.joining")
local last_push = require("kms.sync.last_push")
local master_secrets = require("kms.node.master_secrets")
local message = require("kms.sync.message")
local metrics = require("kms.admin.metrics")
local metrics_requests = require("kms.admin.metrics.requests")
local native = require("kms_native")
local new_apps = require("kms.sync.new_apps")
local openapi_routes = require("kms.routes.openapi")
local outbound = require("kms.peers.outbound")
local peer_routes = require("kms.node.peer_routes")
local peers = require("kms.peers")
local public_routes = require("kms.routes.public")
local push = require("kms.sync.push")
local readiness = require("kms.node.readiness")
local recovery = require("kms.node.recovery")
local reloader = require("kms.policy.reloader")
local repair = require("kms.sync.repair")
local route_table = require("kms.policy.route_table")
local snapshots = require("kms.node.snapshots")
local status = require("kms.routes.status")

local M = {}

local SECOND_MS = 1000
local STORE_ID_BYTES = 16

-- ---- the cluster -----------------------------------------------------------------------------------

-- Peers and the policies about them. Returns true | nil, message.
local function add_peers(parts, shipped)
	local config, failure = parts.config
	parts.outbound, failure = outbound.new({ config = config, env = os.getenv })
	if not parts.outbound then return nil, failure end
	parts.bans = bans.new({
		policy = parts.policy, ban_ms = config.PEER_BLACKLIST_DURATION_SECONDS * SECOND_MS, wall_ms = parts.wall_ms,
	})
	parts.gateway = gateway.new({ policy = parts.policy, log = parts.log, wall_ms = parts.wall_ms })
	parts.reloader = reloader.new({
		policy = parts.policy, bans = parts.bans, config = config, log = parts.log, shipped = shipped,
	})
	parts.peers = peers.new({
		chain = parts.chain, app_id = config.KMS_APP_ID, tee = parts.tee, outbound = parts.outbound, log = parts.log,
		mono_ms = parts.mono_ms, wall_ms = parts.wall_ms, bans = parts.bans,
		backoff_ms = function(peer) return parts.gateway:backoff_ms(peer) end,
		interval_ms = function() return parts.reloader.settings.interval * SECOND_MS end, audit = parts.audit,
	})
	parts.clock_check = clock_check.new({
		peers = parts.peers, wall_ms = parts.wall_ms, mono_ms = parts.mono_ms, skew_ms = config.MAX_CLOCK_SKEW_MS,
		log = parts.log,
	})
	return true
end

-- What calls peers. Returns true | nil, message.
local function add_sync(parts)
	local config, failure = parts.config
	parts.evidence, failure = evidence.new({
		config = config, tee = parts.tee, log = parts.log, wall_ms = parts.wall_ms, skew_ms = config.MAX_CLOCK_SKEW_MS,
		policy_hash = function() return parts.policy:hash() end,
	})
	if not parts.evidence then return nil, failure end
	-- Until the routes are open there are none to have sessions on.
	function parts.has_peer_sessions() return parts.serves_peer_sessions == true end
	parts.writer = message.writer(parts.tee, native.random_hex(STORE_ID_BYTES), parts.wall_ms, parts.has_peer_sessions)
	parts.exchange = exchange.new({
		tee = parts.tee, peers = parts.peers, outbound = parts.outbound, writer = parts.writer, wall_ms = parts.wall_ms,
		max_body_bytes = config.MAX_SYNC_PAYLOAD_BYTES, has_sessions = parts.has_peer_sessions,
		nonce_ms = config.POP_TIMEOUT_SECONDS * SECOND_MS, on_anew = function(peer) parts.pusher:started_anew(peer) end,
		on_time = function(...) parts.clock_check:heard(...) end,
	})
	local function is_ready() return parts.readiness.ready and parts.readiness:is_verified() end
	local function secret() return parts.secrets.current end
	local function settings() return parts.reloader.settings end
	local function by_policy(response, peer) return parts.gateway:accept(response, peer) end
	parts.new_apps = new_apps.new({ chain = parts.chain, peers = parts.peers, store = parts.store, log = parts.log,
		mono_ms = parts.mono_ms, config = config })
	parts.pusher = push.new({
		exchange = parts.exchange, writer = parts.writer, peers = parts.peers, store = parts.store, log = parts.log,
		mono_ms = parts.mono_ms, max_body_bytes = config.MAX_SYNC_PAYLOAD_BYTES, skew_ms = config.MAX_CLOCK_SKEW_MS,
		secret = secret, is_ready = is_ready, settings = settings, on_progress = function() parts.copies:advanced() end,
		order = function(list) return parts.gateway:order(list) end,
	})
	parts.early_push = early_push.new({ pusher = parts.pusher, peers = parts.peers, is_ready = is_ready })
	parts.copies = copies.new({
		store = parts.store, peers = parts.peers, pusher = parts.pusher, mono_ms = parts.mono_ms,
		push = function() parts.early_push:changed_now() end, wanted = config.WRITE_COPIES,
		wait_ms = config.WRITE_WAIT_MS, strict = config.WRITE_STRICT,
	})
	parts.last_push = last_push.new({ pusher = parts.pusher, is_ready = is_ready, log = parts.log,
		mono_ms = parts.mono_ms })
	parts.repair = repair.new({
		exchange = parts.exchange, writer = parts.writer, peers = parts.peers, store = parts.store, log = parts.log,
		mono_ms = parts.mono_ms, wall_ms = parts.wall_ms, max_body_bytes = config.MAX_SYNC_PAYLOAD_BYTES,
		secret = secret, is_ready = is_ready, settings = settings, accept = parts.new_apps:before_changes(by_policy),
	})
	joining.add(parts, parts.new_apps:before_snapshot(by_policy))
	return true
end

-- Tells the store who the members are, where their list is another one than before.
local function set_members(parts)
	local list, wallets = parts.peers:list(), {}
	if list == parts.store_members then return end
	for i, instance in ipairs(list) do wallets[i] = instance.wallet end
	assert(parts.store:set_members(wallets))
	parts.store_members = list
end

-- After each tick that the chain confirmed.
local function on_verified(parts)
	set_members(parts)
	parts.pusher:acknowledge()
	parts.gateway:know_peers(parts.peers:others())
	parts.exchange:expire()
	parts.members:expire()
end

-- Returns true | nil, message.
local function add_readiness(parts, given_secret)
	local config = parts.config
	parts.secrets = master_secrets.new({
		tee = parts.tee, given = given_secret, on_use = function(...) audit.secret_in_use(parts, ...) end,
	})
	local ok, failure = snapshots.add(parts)
	if not ok then return nil, failure end
	parts.readiness = readiness.new({
		identity = parts.identity, chain = parts.chain, peers = parts.peers, tee = parts.tee, service = parts.service,
		clock_check = parts.clock_check, secrets = parts.secrets, clock = parts.clock, log = parts.log,
		mono_ms = parts.mono_ms, bootstrap = parts.bootstrap, join = parts.join, existing = parts.existing,
		alone = joining.limits(config), absence = parts.absence, snapshots = parts.snapshots,
		tick_ms = config.KMS_NODE_TICK_SECONDS * SECOND_MS, view_ttl_ms = config.PEER_CACHE_TTL_SECONDS * SECOND_MS,
		quiet_ms = 2 * config.MAX_CLOCK_SKEW_MS, url = parts.url, instance_url = config.NODE_INSTANCE_URL,
		custodians = parts.recovery:prepare(parts),
		on_verified = function() on_verified(parts) end,
		on_complete = function(all) parts.store:count_from_one(all and parts.peers:has_existing()) end,
	})
	return true
end

--- Adds the parts that make the node a member of its cluster.
-- @param parts of kms.node.core
-- @param deps shipped (folder of the shipped policies), given_secret (handle of MASTER_SECRET_HEX, or nil)
-- @return true | nil, message
function M.join_cluster(parts, deps)
	local ok, failure = audit.add(parts)
	if ok then ok, failure = add_peers(parts, deps.shipped) end
	if ok then ok, failure = add_sync(parts) end
	if ok then parts.recovery, failure = recovery.new({ config = parts.config, log = parts.log }) end
	ok = ok and parts.recovery ~= nil
	if ok then ok, failure = add_readiness(parts, deps.given_secret) end
	if not ok then return nil, failure end
	audit.watch_policies(parts)
	parts.recovery:connect(parts)
	-- A saved secret that is broken, or another node's, stops the start.
	return parts.secrets:recall()
end

-- ---- the routes ------------------------------------------------------------------------------------

local function attestation(parts)
	return attestation_routes.new({ tee = parts.tee, policy = parts.policy, mono_ms = parts.mono_ms,
		config = parts.config, recovery = function() return parts.recovery:statement() end })
end

local function digest(parts)
	return digest_route.new({
		store = parts.store, secrets = parts.secrets, mono_ms = parts.mono_ms, wall_ms = parts.wall_ms, config = parts.config,
	})
end

local function public(parts)
	parts.status = status.new({
		tee = parts.tee, chain = parts.chain, readiness = parts.readiness, secrets = parts.secrets, peers = parts.peers,
		outbound = parts.outbound, store = parts.store, pusher = parts.pusher, repair = parts.repair,
		reloader = parts.reloader, clock_check = parts.clock_check, config = parts.config, snapshots = parts.snapshots,
		recovery_set = parts.recovery:set_id(), audit = parts.audit,
	})
	return public_routes.new({
		endpoints = function() return parts.routes:endpoints() end, status = parts.status, readiness = parts.readiness,
		nonces = parts.nonces, peers = parts.peers, mono_ms = parts.mono_ms, config = parts.config,
	})
end

local function node_facts(parts)
	return facts.node({
		wallet = parts.tee.address or "", url = parts.readiness.url, ready = parts.readiness.ready,
		app_id = parts.config.KMS_APP_ID, nodes = #parts.peers:list(), policy = parts.policy:hash(), now = parts.wall_ms(),
	})
end

--- Adds the parts that serve requests.
-- @param parts of join_cluster
function M.open_routes(parts)
	applications.add_authentication(parts)
	peer_routes.add(parts)
	applications.add(parts)
	local own = {}
	local function in_force() return parts.routes:in_force() end
	for _, group in ipairs({
		public(parts), openapi_routes.new({ in_force = in_force, config = parts.config }), parts.app_routes,
		parts.session_routes, attestation(parts), digest(parts), parts.sync_route, parts.recovery,
	}) do
		local list = group:routes()
		table.move(list, 1, #list, #own + 1, own)
	end
	parts.routes = route_table.new({
		policy = parts.policy, config = parts.config, own = own, mono_ms = parts.mono_ms,
		node_facts = function() return node_facts(parts) end,
	})
	local function announce()
		local has = parts.routes:has("session") and parts.routes:has("session_message")
		parts.service:announce_sessions(has)
		parts.serves_peer_sessions = has and parts.routes:has("sync") and parts.config.PEER_SESSIONS
	end
	announce()
	parts.reloader:on_change(function()
		parts.routes:rebuild()
		announce()
	end)
	parts.metrics = metrics.new()
	parts.dispatcher = dispatch.new({
		routes = parts.routes, log = parts.log, mono_ms = parts.mono_ms, config = parts.config,
		requests = metrics_requests.new(parts.metrics, own), audit = parts.audit,
	})
end

return M
