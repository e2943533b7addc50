-- Which routes exist. A route that is left out, or has enabled = false, is 404; a file that lists no routes
-- keeps all of these. The protocol sets method and path of each handler. Limits can only lower what the
-- configuration allows:
--
--   rate      requests a minute from one client address, besides the node's own limits; no limit in an
--             enclave without TRUSTED_PROXIES, where all clients share one address
--   burst     how many of them at once (default: a minute's)
--   max_body  bytes
--
-- The name of a configuration key may replace a number.
return {
	api = 1,

	{ method = "GET", path = "/", handler = "overview" },
	{ method = "GET", path = "/openapi.json", handler = "openapi" },
	{ method = "GET", path = "/health", handler = "health" },
	{ method = "GET", path = "/ready", handler = "ready" },
	{ method = "GET", path = "/status", handler = "status" },
	{ method = "GET", path = "/nonce", handler = "nonce" },
	{ method = "GET", path = "/nodes", handler = "nodes" },
	{ method = "GET", path = "/digest", handler = "digest" },
	{ method = "GET", path = "/attestation", handler = "attestation" },
	{ method = "POST", path = "/kms/derive", handler = "derive", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "GET", path = "/kms/data", handler = "list" }, -- with ?key= it is "get"
	{ method = "GET", path = "/kms/data/<key>", handler = "get" },
	{ method = "PUT", path = "/kms/data", handler = "put", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "DELETE", path = "/kms/data", handler = "delete", max_body = "MAX_REQUEST_BODY_BYTES" },
	-- An operation in a message also needs its own route above, and counts in that route's limits.
	{ method = "POST", path = "/session", handler = "session", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "POST", path = "/session/message", handler = "session_message", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "POST", path = "/sync", handler = "sync", max_body = "MAX_SYNC_PAYLOAD_BYTES" },
	{ method = "GET", path = "/recovery", handler = "recovery" }, -- these five with RECOVERY only
	{ method = "GET", path = "/recovery/shares", handler = "recovery_shares" },
	{ method = "POST", path = "/recovery/check", handler = "recovery_check" },
	{ method = "GET", path = "/recovery/challenge", handler = "recovery_challenge" },
	{ method = "POST", path = "/recovery/share", handler = "recovery_share" },

	-- Your own routes, for GET only: the reply is the table that the handler returns, as JSON.
	-- f has service, version, wallet, url, ready, app_id, nodes, policy (SHA-256), now (Unix ms).
	extra = {
		-- { name = "about", path = "/about", handler = function(f) return { run_by = "us" } end },
	},
}
