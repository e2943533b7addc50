-- The protocol's routes as shipped, and GET /about: who runs this node.
return {
	{ method = "GET", path = "/", handler = "overview" },
	{ method = "GET", path = "/health", handler = "health" },
	{ method = "GET", path = "/ready", handler = "ready" },
	{ method = "GET", path = "/status", handler = "status" },
	{ method = "GET", path = "/nonce", handler = "nonce", rate = "NONCE_RATE_LIMIT_PER_MINUTE" },
	{ method = "GET", path = "/nodes", handler = "nodes" },
	{ method = "GET", path = "/attestation", handler = "attestation", rate = "NONCE_RATE_LIMIT_PER_MINUTE" },
	{ method = "POST", path = "/kms/derive", handler = "derive", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "GET", path = "/kms/data", handler = "list" },
	{ method = "GET", path = "/kms/data/<key>", handler = "get" },
	{ method = "PUT", path = "/kms/data", handler = "put", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "DELETE", path = "/kms/data", handler = "delete", max_body = "MAX_REQUEST_BODY_BYTES" },
	{ method = "POST", path = "/sync", handler = "sync", max_body = "MAX_SYNC_PAYLOAD_BYTES" },

	extra = {
		{
			name = "about", description = "who runs this node", path = "/about", rate = 30,
			handler = function(f)
				return { operator = "Example Ltd", contact = "ops@example.org", node = f.url, ready = f.ready }
			end,
		},
	},
}
