--- Metrics of the node's state: readiness, store, peers, sync.

local needs = require("kms.base.needs")

local M = {}

--- Reasons of kms.node.readiness and the values of the label `reason`; a spec compares the two.
M.REASONS = {
	starting = "starting", clock = "clock", ["waiting for the TEE service"] = "no_tee",
	["peer cache refresh failed"] = "no_chain_view",
	["self not in KMS node list"] = "not_a_member", ["local teePubkey mismatch with registry"] = "key_mismatch",
	["cannot read the secret of an earlier run"] = "earlier_secret_unreadable",
	["cannot read master secret hash"] = "hash_unreadable", ["failed to set master secret hash"] = "hash_not_set",
	["awaiting on-chain master secret hash"] = "awaiting_hash", ["master secret sync failed"] = "no_secret",
	["the last view of the chain is too old"] = "view_too_old", ["waiting for a snapshot"] = "awaiting_snapshot",
	["waiting for custodians"] = "awaiting_custodians",
	["snapshot sync failed"] = "no_snapshot", ["node check failed"] = "check_failed",
}

local STATES = { "self", "ok", "unknown", "unreachable", "banned" }
-- Buckets of peers by the number of changes that they have not acknowledged.
local BEHIND = { { "0", 0 }, { "1-10", 10 }, { "11-100", 100 }, { "101-1000", 1000 }, { "more", math.huge } }

local function flag(value)
	return value and 1 or 0
end

local function values(t)
	local list = {}
	for _, value in pairs(t) do list[#list + 1] = value end
	table.sort(list)
	return list
end

local function declare_readiness(set, deps)
	local readiness = deps.readiness
	local function gauge(name, help, read)
		set:read("gauge", name, help, nil, function(put) put(flag(read())) end)
	end
	gauge("kms_ready", "Whether applications are served.", function() return readiness.ready end)
	gauge("kms_verified", "Whether the chain confirms this node's registration.", function()
		return readiness:is_verified()
	end)
	gauge("kms_store_complete", "Whether the store holds what the cluster holds.", function()
		return readiness:is_complete()
	end)
	local reasons = values(M.REASONS)
	set:read("gauge", "kms_unready_reason", "1 at the reason why applications are not served.",
		{ { "reason", reasons } }, function(put)
			for _, reason in ipairs(reasons) do put(0, reason) end
			if not readiness.ready then put(1, M.REASONS[readiness.reason:match("^[^:(]*[^:( ]")] or "other") end
		end)
	gauge("kms_draining", "Whether the node stops after the requests that run.", deps.is_stopping)
end

local function declare_store(set, deps)
	local function of(kind, name, help, member)
		set:read(kind, name, help, nil, function(put) put(deps.store:stats()[member]) end)
	end
	of("gauge", "kms_store_namespaces", "Applications with records.", "namespaces")
	of("gauge", "kms_store_live_keys", "Records that can be read.", "live_keys")
	of("gauge", "kms_store_live_bytes", "Ciphertext of the records that can be read.", "live_bytes")
	of("gauge", "kms_store_total_bytes", "What counts against MAX_TOTAL_STORAGE_BYTES.", "total_bytes")
	of("gauge", "kms_store_tombstones", "Deletions that are remembered.", "tombstones")
	of("gauge", "kms_store_stubs", "Evicted records that are remembered.", "stubs")
	of("counter", "kms_store_evictions_total", "Records evicted to make room.", "evictions")
end

local function declare_peers(set, deps)
	set:read("gauge", "kms_peers", "Members of the cluster by what this node knows of them.", { { "state", STATES } },
		function(put)
			for _, state in ipairs(STATES) do put(0, state) end
			for _, instance in ipairs(deps.peers:list()) do put(1, (deps.peers:state(instance.wallet))) end
		end)
	set:read("gauge", "kms_clock_writes_refused", "Whether writes are refused since this node's clock is wrong.", nil,
		function(put) put(deps.clock_check.reason and 1 or 0) end)
	set:read("gauge", "kms_clock_difference_seconds", "Largest difference of a member's clock from this node's.", nil,
		function(put)
			local largest_ms = 0
			for _, offset in pairs(deps.clock_check:status().members) do
				largest_ms = math.max(largest_ms, math.abs(offset))
			end
			put(largest_ms / 1000)
		end)
	set:read("gauge", "kms_bans", "Bans in force.", { { "scope", { "calls", "all" } } }, function(put)
		put(0, "calls")
		put(0, "all")
		for _, ban in ipairs(deps.bans:list(deps.mono_ms())) do put(1, ban.scope) end
	end)
end

local function declare_sync_lag(set, deps)
	local function each_lag(fn)
		local status = deps.pusher:status()
		for _, peer in pairs(status.peers) do fn(math.max(0, status.sequence - peer.acknowledged)) end
	end
	local labels = {}
	for i, bucket in ipairs(BEHIND) do labels[i] = bucket[1] end
	set:read("gauge", "kms_sync_sequence", "Number of the newest change of the store.", nil, function(put)
		put(deps.store:sequence())
	end)
	set:read("gauge", "kms_sync_peers_behind", "Peers by how many changes they have not acknowledged.",
		{ { "changes", labels } }, function(put)
			for _, label in ipairs(labels) do put(0, label) end
			each_lag(function(lag)
				local at = 1
				while lag > BEHIND[at][2] do at = at + 1 end
				put(1, BEHIND[at][1])
			end)
		end)
	set:read("gauge", "kms_sync_lag_max", "Changes that the slowest peer has not acknowledged.", nil, function(put)
		local most = 0
		each_lag(function(lag) most = math.max(most, lag) end)
		put(most)
	end)
end

-- Families of one counter each, whose values are members of a table.
local function declare_counters(set, counts, list)
	for _, entry in ipairs(list) do
		local name, help, member = table.unpack(entry)
		set:read("counter", name, help, nil, function(put) put(counts[member] or 0) end)
	end
end

local function declare_sync(set, deps)
	local fetched, received = deps.bootstrap.counts, deps.replies.counts
	declare_counters(set, deps.pusher.counts, {
		{ "kms_sync_pushes_total", "Pushes that a peer acknowledged.", "pushes" },
		{ "kms_sync_push_failures_total", "Pushes that failed.", "failures" },
		{ "kms_sync_pushed_records_total", "Records in acknowledged pushes.", "records" },
		{ "kms_sync_push_rejected_records_total", "Pushed records that a peer rejected.", "rejected" },
		{ "kms_sync_skipped_records_total", "Records too large for a peer.", "skipped" },
	})
	declare_counters(set, fetched, {
		{ "kms_sync_snapshots_fetched_total", "Snapshots received from peers.", "fetched" },
		{ "kms_sync_snapshot_failures_total", "Snapshots that a peer did not give.", "failures" },
	})
	local kinds = { "delta", "digest", "snapshot_request", "master_secret_request" }
	set:read("counter", "kms_sync_messages_total", "Messages of peers that were executed or refused late.",
		{ { "type", kinds } }, function(put)
			for _, kind in ipairs(kinds) do put(received[kind], kind) end
		end)
	local outcomes = { "merged", "skipped", "rejected", "poisoned", "refused" }
	set:read("counter", "kms_sync_received_records_total", "Records received from peers by what became of them.",
		{ { "outcome", outcomes } }, function(put)
			for _, outcome in ipairs(outcomes) do
				put((received.records[outcome] or 0) + (fetched[outcome] or 0), outcome)
			end
		end)
end

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps readiness, store, mono_ms; clock_check (kms.node.clock_check); peers, bans (kms.peers); pusher,
-- bootstrap, replies (kms.sync); is_stopping
--   (function)
function M.declare(set, deps)
	deps = needs.take(deps, "readiness is_stopping store mono_ms peers bans pusher bootstrap replies clock_check")
	declare_readiness(set, deps)
	declare_store(set, deps)
	declare_peers(set, deps)
	declare_sync_lag(set, deps)
	declare_sync(set, deps)
end

return M
