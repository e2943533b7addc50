-- How this node pushes its changes, which records it accepts, and which peers get the master secret.
-- A peer p has wallet, url, app_id, version_id, instance_id, operator, zk_verified, failures (calls in a row
-- that did not reach it), features (name -> true) and, once known, rtt_ms and last_ok_ms (Unix ms).
return {
	api = 1,

	-- Seconds between two pushes.
	interval = "DATA_SYNC_INTERVAL_SECONDS",

	-- Records and bytes of records in one push, and to how many peers at a time. An existing node gets at
	-- most 1044480 bytes, and no peer more than fits into a body.
	max_records = 5000,
	max_bytes = 4 * 1024 * 1024,
	parallel = 64,

	-- Seconds until a peer is called again after `failures` in a row. The node changes them by up to a
	-- quarter at random, so that not all nodes call at once.
	backoff = function(p, failures) return math.min(2 ^ math.min(failures - 1, 10), 30) end,

	-- The peers to push to, in this order. A peer that is left out must fetch changes itself.
	-- peers = function(list) return list end,

	-- Whether to accept a record of a peer: app_id, key, size (bytes as stored), updated_at_ms, tombstone,
	-- ttl_ms, from (the peer's wallet), now. A refused record is reported as rejected, and this node does
	-- not have it. Costs a few microseconds a record.
	-- accept = function(r) end,

	-- Whether a member gets the master secret; its registration has just been read from the chain. The
	-- attestation is nil or a verified one: pcrs (number -> hexadecimal), policy (SHA-256), timestamp_ms,
	-- module_id, simulated. A failure refuses.
	-- release_secret = function(p, attestation) if not attestation then return false, "show one" end end,
}
