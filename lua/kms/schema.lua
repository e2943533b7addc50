--- Every configuration key: type, bounds, default and what it means.
-- The one place where a key is declared; config/node.lua, `nova-kms config check` and the
-- messages follow from it (a spec compares the file). Members of an entry:
--   name, type (one of kms.types), doc, default (nil: not set)
--   min, max   bounds of an int, both allowed;  zero  0 is allowed too
--   values     of an enum
--   base       a URL that paths are appended to
--   filled     a list has one element at least
--   optional   empty text means not set
--   alias      another variable name that existing deployments use
--   secret     environment only, never a Lua string
--   later      what has to be there before the key has an effect

local M = {}

local KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
local DAY_S = 86400
local LARGEST = 1 << 40 -- bytes or counts that the core accepts

-- What some keys wait for.
local POLICY = "operator policies"

local function section(title, ...)
	return { title = title, keys = { ... } }
end

--- All keys by section, in the order of config/node.lua. A new table at each call.
-- @return list of { title, keys = list of entries }
function M.sections()
	return {
		section("Node",
			{ name = "IN_ENCLAVE", type = "bool", default = true,
				doc = "Runs in an enclave; false is for development and opens what only that may have." },
			{ name = "BIND_ADDR", type = "bind", default = "0.0.0.0:8000",
				doc = "Where to listen for HTTP; TLS ends at the platform's ingress." },
			{ name = "NODE_INSTANCE_URL", type = "url", base = true, optional = true,
				doc = "URL by which others reach this node; not set: the registered one." },
			{ name = "TEE", type = "enum", values = { "odyn", "nitro", "sim" }, default = "odyn",
				doc = "Where the node's keys live; sim only with IN_ENCLAVE=false." },
			{ name = "ODYN_URL", type = "url", base = true, default = "http://127.0.0.1:18000",
				doc = "The Odyn supervisor, with TEE=odyn." },
			{ name = "DATA_DIR", type = "string", default = "data",
				doc = "Folder of the sim seed and the local chain; nothing else is written to disk." },
			{ name = "POLICY_DIR", type = "string", default = "config/policy", later = POLICY,
				doc = "Folder of the operator's policy files." },
			{ name = "METRICS_ADDR", type = "bind_or_off", default = "127.0.0.1:9464",
				doc = "Where GET /metrics is answered, over plain HTTP; 0: nowhere." },
			{ name = "CONTROL_SOCKET", type = "socket", default = "auto",
				doc = "Unix socket for the node's operator; auto: DATA_DIR/control.sock, off with IN_ENCLAVE=true." },
			{ name = "THREADS", type = "int", min = 0, max = 256, default = 0,
				doc = "Threads for native work; 0: one a core." },
			{ name = "LOCKED_MEMORY_BYTES", type = "int", min = 8 * MIB, max = LARGEST, zero = true, default = 0,
				doc = "Bytes of guarded memory for secrets, a power of two (else rounded down); 0: what may be locked." }),
		section("Log",
			{ name = "LOG_LEVEL", type = "level", default = "info",
				doc = "The least serious events that are logged." },
			{ name = "LOG_FORMAT", type = "enum", values = { "auto", "text", "json" }, default = "auto",
				doc = "auto: text on a terminal, JSON otherwise." },
			{ name = "LOG_NAMES", type = "bool", default = false,
				doc = "Log paths, contexts and key names as they are; false: a keyed hash of them." }),
		section("Identity and secrets",
			{ name = "MASTER_SECRET_HEX", type = "secret", secret = true,
				doc = "The cluster's master secret, 64 hexadecimal digits; from the environment only, wiped from it." },
			{ name = "ALLOW_OPERATOR_SECRET", type = "bool", default = false,
				doc = "Accept MASTER_SECRET_HEX with IN_ENCLAVE=true too: whoever sets it knows the secret." },
			{ name = "ALLOW_DEV_IDENTITY", type = "bool", default = false,
				doc = "A request may name its wallet in X-Tee-Wallet instead of proving it; only with IN_ENCLAVE=false." },
			{ name = "POP_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 120,
				doc = "How long a nonce is valid, and how far a timestamp may be off, in seconds." }),
		section("Chain",
			{ name = "CHAIN", type = "enum", values = { "evm", "local" }, default = "evm",
				doc = "Where the registry is read; local (a file) only with IN_ENCLAVE=false." },
			{ name = "HELIOS_RPC_URL", type = "urls", filled = true, default = "http://127.0.0.1:18545", alias = "NODE_URL",
				doc = "RPC of the chain; in an enclave a light client on loopback, or at least two URLs." },
			{ name = "NOVA_APP_REGISTRY_ADDRESS", type = "address", optional = true,
				doc = "Contract that lists applications, versions and instances." },
			{ name = "KMS_REGISTRY_ADDRESS", type = "address", optional = true,
				doc = "Contract that holds the hash of the cluster's master secret." },
			{ name = "KMS_APP_ID", type = "app_id", default = "49",
				doc = "Application id of the KMS nodes themselves." },
			{ name = "CHAIN_ID", type = "int", min = 0, max = (1 << 53) - 1, default = 0,
				doc = "Chain id that must not change; 0: the one found at start." },
			{ name = "CHAIN_CONFIRMATIONS", type = "int", min = 0, max = 1000, default = 6,
				doc = "Blocks behind the head at which the chain is read; 0: the head." },
			{ name = "MAX_HEAD_AGE_SECONDS", type = "int", min = 1, max = DAY_S, default = 300,
				doc = "A head block older than this, in seconds, is no answer." },
			{ name = "REGISTRY_CACHE_TTL_SECONDS", type = "int", min = 1, max = DAY_S, default = 180,
				doc = "How long an application's authorisation is remembered, in seconds." }),
		section("Cluster",
			{ name = "KMS_NODE_TICK_SECONDS", type = "int", min = 1, max = 3600, default = 60,
				doc = "Between two checks of this node against the chain, in seconds." },
			{ name = "PEER_CACHE_TTL_SECONDS", type = "int", min = 1, max = DAY_S, default = 180,
				doc = "How long the last good view of the cluster counts, in seconds; three ticks at least." },
			{ name = "DATA_SYNC_INTERVAL_SECONDS", type = "int", min = 1, max = 3600, default = 10,
				doc = "Between two pushes of changes to peers, in seconds." },
			{ name = "PEER_BLACKLIST_DURATION_SECONDS", type = "int", min = 1, max = 30 * DAY_S, default = 600,
				doc = "How long a peer that failed verification is ignored, in seconds." },
			{ name = "ALLOW_PRIVATE_PEERS", type = "bool",
				doc = "Peers may be at private and loopback addresses; not set: only with IN_ENCLAVE=false." },
			{ name = "EGRESS_PROXY", type = "url", base = true, optional = true,
				doc = "HTTP proxy for outbound requests; not set: in an enclave what https_proxy and http_proxy name." }),
		section("Rates (0: no limit)",
			{ name = "RATE_LIMIT_PER_MINUTE", type = "int", min = 0, max = 1000000000, default = 120,
				doc = "Requests a minute from a client address (IPv6: /64)." },
			{ name = "NONCE_RATE_LIMIT_PER_MINUTE", type = "int", min = 0, max = 1000000000, default = 30,
				doc = "GET /nonce a minute from a client address; as many GET /attestation beside them." },
			{ name = "APP_RATE_LIMIT_PER_MINUTE", type = "int", min = 0, max = 1000000000, default = 6000,
				doc = "Authenticated requests a minute of an application, and of a wallet." },
			{ name = "TRUSTED_PROXIES", type = "cidrs", default = "",
				doc = "Addresses and ranges whose X-Forwarded-For counts." }),
		section("Records",
			{ name = "MAX_KV_VALUE_SIZE_BYTES", type = "int", min = 1, max = 16 * MIB, default = MIB,
				doc = "Longest value, in bytes before encryption." },
			{ name = "MAX_KEY_BYTES", type = "int", min = 1, max = 64 * KIB, default = 4096,
				doc = "Longest key, in bytes." },
			{ name = "MAX_APP_STORAGE_BYTES", type = "int", min = 28, max = LARGEST, default = 10 * MIB,
				doc = "Ciphertext of an application, in bytes; beyond it the least recently used goes." },
			{ name = "MAX_TOTAL_STORAGE_BYTES", type = "int", min = 1, max = LARGEST, default = 512 * MIB,
				doc = "Everything the store holds, in bytes, its own overhead included." },
			{ name = "MAX_NAMESPACES", type = "int", min = 1, max = 500000, default = 10000,
				doc = "Applications that can have records." },
			{ name = "TOMBSTONE_RETENTION_MS", type = "int", min = 0, max = 365 * DAY_S * 1000, default = DAY_S * 1000,
				doc = "How long a deletion is remembered, in milliseconds." },
			{ name = "MAX_TOMBSTONES_PER_APP", type = "int", min = 1, max = 10000000, default = 100000,
				doc = "Deletions remembered for an application; at ten times as many DELETE answers 503." },
			{ name = "MAX_CLOCK_SKEW_MS", type = "int", min = 0, max = 3600 * 1000, default = 15000,
				doc = "How far in the future a record from a peer may be stamped, in milliseconds." }),
		section("Bodies",
			{ name = "MAX_REQUEST_BODY_BYTES", type = "int", min = 1, max = GIB, default = 4 * MIB,
				doc = "Longest request body, in bytes; a value of 1 MiB is 2.8 MB as an envelope." },
			{ name = "MAX_SYNC_PAYLOAD_BYTES", type = "int", min = 1, max = 4 * GIB, default = 50 * MIB,
				doc = "Longest body on /sync, in bytes." },
			{ name = "MAX_SNAPSHOT_BYTES", type = "int", min = 1, max = 64 * GIB, default = 512 * MIB,
				doc = "Longest snapshot accepted from a peer, in bytes." },
			{ name = "MAX_BODY_MEMORY_BYTES", type = "int", min = 1, max = LARGEST, default = 256 * MIB,
				doc = "Bodies in flight all together, in bytes, beyond it 503; as much for answers that wait for clients." }),
		section("HTTP",
			{ name = "MAX_CONNECTIONS", type = "int", min = 1, max = 1000000, default = 4096,
				doc = "Open connections." },
			{ name = "MAX_CONNECTIONS_PER_ADDRESS", type = "int", min = 1, max = 1000000, default = 256,
				doc = "Open connections from one client address (IPv6: /64)." },
			{ name = "MAX_CHANNELS", type = "int", min = 1, max = 65536, default = 4096,
				doc = "Derived channel keys that are kept, one a client key." },
			{ name = "MAX_HEADER_BYTES", type = "int", min = 1024, max = 64 * KIB, default = 16 * KIB,
				doc = "Longest request line and headers together, in bytes." },
			{ name = "FIRST_BYTE_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 10,
				doc = "From a connection to its first byte, in seconds." },
			{ name = "HEADER_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 10,
				doc = "From a request's first byte to the end of its headers, in seconds." },
			{ name = "BODY_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 30,
				doc = "From the end of the headers to the end of the body, in seconds." },
			{ name = "IDLE_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 75,
				doc = "Between two requests of a connection, in seconds." },
			{ name = "WRITE_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 30,
				doc = "For a client to take its answer, in seconds." },
			{ name = "SHUTDOWN_TIMEOUT_SECONDS", type = "int", min = 1, max = 3600, default = 10,
				doc = "For running requests to finish after SIGTERM, in seconds." }),
	}
end

return M
