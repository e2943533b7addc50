-- When, what and to whom this node pushes its changes, what it accepts, and what a peer must
-- show before it is given the master secret. A peer p has wallet, url, app_id, version_id,
-- instance_id, operator, zk_verified, failures (calls in a row that did not reach it), features
-- (name -> true); and where known rtt_ms, last_ok_ms.
return {
	api = 1,

	-- Seconds between two pushes.
	interval = "DATA_SYNC_INTERVAL_SECONDS",

	-- Of one push: records, bytes of records, and to how many peers at once. Existing nodes get no more
	-- than 990000 bytes, and nobody more than fits a body.
	max_records = 5000,
	max_bytes = 4 * 1024 * 1024,
	parallel = 64,

	-- Seconds until a peer is tried again after so many failures in a row. The node waits up to a quarter
	-- more or less, by chance, so that not everybody calls at once.
	backoff = function(p, failures) return math.min(2 ^ math.min(failures - 1, 10), 30) end,

	-- To whom, in this order; leaving a peer out means that it has to fetch changes by itself.
	-- peers = function(list) return list end,

	-- A record that a peer sends: app_id, key, size (bytes as stored), updated_at_ms, tombstone, ttl_ms,
	-- from, now. Refused ones are answered as rejected; they are missing here then. Costs some
	-- microseconds a record.
	-- accept = function(r) end,

	-- A member of the cluster asks for the master secret; the chain has been asked anew. The
	-- attestation is nil, or verified: pcrs (number -> digits), policy (SHA-256), timestamp_ms,
	-- module_id, simulated. Failing refuses.
	-- release_secret = function(p, attestation) if not attestation then return false, "show one" end end,
}
