--- What a node needs to join its cluster, made of its other parts.

local absence = require("kms.node.absence")
local bootstrap = require("kms.sync.bootstrap")
local existing_nodes = require("kms.sync.existing_nodes")
local join = require("kms.sync.join")
local repair_exchange = require("kms.sync.repair_exchange")

local M = {}

local SECOND_MS = 1000

--- Adds what brings the cluster's secret and records: bootstrap, existing and join (kms.sync), absence (kms.node).
-- @param parts of kms.node.assemble; @param accept as for kms.sync.join
function M.add(parts, accept)
	local config = parts.config
	parts.bootstrap = bootstrap.new({
		exchange = parts.exchange, writer = parts.writer, peers = parts.peers, store = parts.store, clock = parts.clock,
		log = parts.log, mono_ms = parts.mono_ms, max_snapshot_bytes = config.MAX_SNAPSHOT_BYTES, accept = accept,
		evidence = parts.evidence,
	})
	parts.existing = existing_nodes.new({
		bootstrap = parts.bootstrap, peers = parts.peers, log = parts.log, mono_ms = parts.mono_ms,
	})
	local function is_verified() return parts.readiness:is_verified() end
	local comparison = repair_exchange.new({
		exchange = parts.exchange, writer = parts.writer, peers = parts.peers, store = parts.store, mono_ms = parts.mono_ms,
		wall_ms = parts.wall_ms, max_body_bytes = config.MAX_SYNC_PAYLOAD_BYTES, accept = accept, is_ready = is_verified,
		secret = function() return parts.secrets.current end, settings = function() return parts.reloader.settings end,
	})
	parts.absence = absence.new({
		mono_ms = parts.mono_ms, wall_ms = parts.wall_ms, log = parts.log, retention_ms = config.TOMBSTONE_RETENTION_MS,
		view_ttl_ms = config.PEER_CACHE_TTL_SECONDS * SECOND_MS, skew_ms = config.MAX_CLOCK_SKEW_MS,
		shared_ms = function() return parts.repair.shared_ms end,
	})
	parts.join = join.new({
		exchange = parts.exchange, writer = parts.writer, bootstrap = parts.bootstrap, repair = comparison, tee = parts.tee,
		peers = parts.peers, store = parts.store, clock = parts.clock, mono_ms = parts.mono_ms, accept = accept,
		max_body_bytes = config.MAX_SYNC_PAYLOAD_BYTES, max_snapshot_bytes = config.MAX_SNAPSHOT_BYTES,
		absence = parts.absence, ahead_ms = 2 * config.MAX_CLOCK_SKEW_MS,
		goes_on = function(secret) return is_verified() and parts.secrets.current == secret end,
	})
end

--- For how long a node waits for members that do not answer, as kms.node.completeness takes it.
function M.limits(config)
	return {
		after_ms = config.LONELY_SECONDS * SECOND_MS, silent_ms = config.LONELY_SILENT_SECONDS * SECOND_MS,
		at_once = config.SERVE_ALONE,
	}
end

return M
