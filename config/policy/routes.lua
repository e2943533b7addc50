-- Which routes exist. Method and path of a handler are the protocol's; leaving a route out, or
-- enabled = false, means 404 (a file that lists no route at all keeps these). Limits can only
-- narrow what the configuration allows:
--
--   rate      requests a minute from one client address, on top of the node's own limits; none where
--             there is no such address (IN_ENCLAVE, without TRUSTED_PROXIES)
--   burst     how many of them at once (default: all)
--   max_body  bytes
--
-- A name of a configuration key stands for its value.
return {
	api = 1,

	{ method = "GET", path = "/", handler = "overview" },
	{ method = "GET", path = "/health", handler = "health" },
	{ method = "GET", path = "/ready", handler = "ready" },
	{ method = "GET", path = "/status", handler = "status" },
	{ method = "GET", path = "/nonce", handler = "nonce" },
	{ method = "GET", path = "/nodes", handler = "nodes" },
	{ method = "GET", path = "/attestation", handler = "attestation" },
	{ method = "POST", path = "/kms/derive", handler = "derive", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "GET", path = "/kms/data", handler = "list" }, -- with ?key= it is "get"
	{ method = "GET", path = "/kms/data/<key>", handler = "get" },
	{ method = "PUT", path = "/kms/data", handler = "put", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "DELETE", path = "/kms/data", handler = "delete", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "POST", path = "/sync", handler = "sync", max_body = "MAX_SYNC_PAYLOAD_BYTES" },

	-- Read-only routes of your own: GET, answered with the table that the handler returns, as JSON.
	-- f has service, version, wallet, url, ready, app_id, nodes, policy (SHA-256), now.
	extra = {
		-- { name = "about", path = "/about", handler = function(f) return { run_by = "us" } end },
	},
}
