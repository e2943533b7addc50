--- The node as a member of its cluster: peers, readiness and sync, put together in the order in
-- which they need each other. Nothing here decides.

local bans = require("kms.peers.bans")
local call = require("kms.sync.exchange")
local egress = require("kms.peers.outbound")
local evidence = require("kms.sync.evidence")
local join = require("kms.sync.bootstrap")
local readiness = require("kms.node.readiness")
local message = require("kms.sync.message")
local native = require("kms_native")
local peers = require("kms.peers")
local push = require("kms.sync.push")
local secrets = require("kms.node.master_secrets")

local M = {}

local STORE_ID_BYTES = 16

-- After each tick that the chain bore out.
local function on_verified(node)
	local wallets = {}
	for i, instance in ipairs(node.peers:list()) do wallets[i] = instance.wallet end
	assert(node.store:set_members(wallets))
	node.url = node.config.NODE_INSTANCE_URL or node.readiness.own_url or node.url
	node.pusher:acknowledge()
	node.operator:know_peers(node.peers:others())
end

local function open_sync(node)
	local config = node.config
	node.writer = message.writer(node.tee.address, native.random_hex(STORE_ID_BYTES))
	node.caller = call.new({
		tee = node.tee, peers = node.peers, egress = node.egress, wall_ms = node.wall_ms,
		on_anew = function(peer) node.pusher:started_anew(peer) end,
	})
	node.pusher = push.new({
		caller = node.caller, writer = node.writer, peers = node.peers, store = node.store, log = node.log,
		mono_ms = node.mono_ms, max_body_bytes = config.MAX_SYNC_PAYLOAD_BYTES, skew_ms = config.MAX_CLOCK_SKEW_MS,
		secret = function() return node.secrets.current end,
		is_ready = function() return node.readiness.ready and not node.stopping end,
		order = function(list) return node.operator:order(list) end,
		settings = function() return node.operator.settings end,
	})
	return join.new({
		caller = node.caller, writer = node.writer, peers = node.peers, store = node.store, clock = node.clock,
		log = node.log, mono_ms = node.mono_ms, max_snapshot_bytes = config.MAX_SNAPSHOT_BYTES,
		accept = function(answer, peer) return node.operator:accept(answer, peer) end, evidence = node.evidence,
	})
end

--- Makes node.egress, .bans, .peers, .secrets, .evidence, .writer, .caller, .pusher and .readiness. The node has
-- config, log, given, clock, chain, tee, store, service and policies.
-- @param env function: environment variable by name, or nil
-- @return true | nil, message
function M.join(node, env)
	local config = node.config
	local way_out, failure = egress.new(config, env)
	if not way_out then return nil, failure end
	node.egress = way_out
	node.bans = bans.new(node.policy, config.PEER_BLACKLIST_DURATION_SECONDS * 1000, node.wall_ms)
	node.peers = peers.new({
		chain = node.chain, app_id = config.KMS_APP_ID, own = node.tee.address, egress = node.egress, log = node.log,
		mono_ms = node.mono_ms, wall_ms = node.wall_ms, bans = node.bans,
		backoff_ms = function(peer) return node.operator:backoff_ms(peer) end,
	})
	node.secrets = secrets.new({ tee = node.tee, given = node.given })
	local shown
	shown, failure = evidence.new({
		config = config, tee = node.tee, log = node.log, wall_ms = node.wall_ms, skew_ms = config.MAX_CLOCK_SKEW_MS,
		policy_hash = function() return node.policy:hash() end,
	})
	if not shown then return nil, failure end
	node.evidence = shown
	node.readiness = readiness.new({
		chain = node.chain, peers = node.peers, tee = node.tee, service = node.service, secrets = node.secrets,
		clock = node.clock, log = node.log, mono_ms = node.mono_ms, join = open_sync(node),
		tick_ms = config.KMS_NODE_TICK_SECONDS * 1000, view_ttl_ms = config.PEER_CACHE_TTL_SECONDS * 1000,
		on_verified = function() on_verified(node) end,
	})
	return node.readiness:recall()
end

return M
