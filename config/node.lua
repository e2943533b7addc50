-- Configuration of a nova-kms node: every key with its default, commented out.
--
-- Uncomment a line to change it. An environment variable of the same name overrides what is
-- set here; an empty one counts as not set. `nova-kms config check` tells what is wrong, and
-- what is in force. The file is Lua that returns a table: arithmetic works, nothing can be
-- called. Secrets do not belong here.
return {

	-- Node ----------------------------------------------------------------------------------

	-- Runs in an enclave; false is for development and opens what only that may have.
	-- Allowed: true or false.
	-- IN_ENCLAVE = true,

	-- Where to listen for HTTP; TLS ends at the platform's ingress.
	-- Allowed: address:port or [IPv6 address]:port, no host name (port 0: any free one).
	-- BIND_ADDR = "0.0.0.0:8000",

	-- URL by which others reach this node; not set: the registered one.
	-- Allowed: http:// or https:// with a host, no user name, query or fragment.
	-- NODE_INSTANCE_URL = "",

	-- Where the node's keys live; sim only with IN_ENCLAVE=false.
	-- Allowed: one of odyn, nitro, sim.
	-- TEE = "odyn",

	-- The Odyn supervisor, with TEE=odyn.
	-- Allowed: http:// or https:// with a host, no user name, query or fragment.
	-- ODYN_URL = "http://127.0.0.1:18000",

	-- Folder of the sim seed and the local chain; nothing else is written to disk.
	-- Allowed: 1 to 4096 characters, none of them a control character.
	-- DATA_DIR = "data",

	-- Folder of the operator's policy files; it must exist when set. Shipped files stand for missing ones.
	-- Allowed: 1 to 4096 characters, none of them a control character.
	-- POLICY_DIR = "config/policy",

	-- Where GET /metrics is answered, over plain HTTP; 0: nowhere.
	-- Allowed: 0 (off), or address:port or [IPv6 address]:port, no host name (port 0: any free one).
	-- METRICS_ADDR = "127.0.0.1:9464",

	-- Unix socket for the node's operator; auto: DATA_DIR/control.sock, off with IN_ENCLAVE=true.
	-- Allowed: auto, off, or a path with a / in it, at most 100 bytes.
	-- CONTROL_SOCKET = "auto",

	-- Threads for native work; 0: one a core.
	-- Allowed: a whole number from 0 to 256.
	-- THREADS = 0,

	-- Bytes of guarded memory for secrets, a power of two (else rounded down); 0: what may be locked.
	-- Allowed: 0 or a whole number from 8388608 to 1099511627776.
	-- LOCKED_MEMORY_BYTES = 0,

	-- Log -----------------------------------------------------------------------------------

	-- The least serious events that are logged.
	-- Allowed: one of error, warn, info, debug.
	-- LOG_LEVEL = "info",

	-- auto: text on a terminal, JSON otherwise.
	-- Allowed: one of auto, text, json.
	-- LOG_FORMAT = "auto",

	-- Log paths, contexts and key names as they are; false: a keyed hash of them.
	-- Allowed: true or false.
	-- LOG_NAMES = false,

	-- Identity and secrets ------------------------------------------------------------------

	-- The cluster's master secret, 64 hexadecimal digits; from the environment only, wiped from it.
	-- Allowed: 64 hexadecimal digits, from the environment only.

	-- Accept MASTER_SECRET_HEX with IN_ENCLAVE=true too: whoever sets it knows the secret.
	-- Allowed: true or false.
	-- ALLOW_OPERATOR_SECRET = false,

	-- A request may name its wallet in X-Tee-Wallet instead of proving it; only with IN_ENCLAVE=false.
	-- Allowed: true or false.
	-- ALLOW_DEV_IDENTITY = false,

	-- How long a nonce is valid, and how far a timestamp may be off, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- POP_TIMEOUT_SECONDS = 120,

	-- Chain ---------------------------------------------------------------------------------

	-- Where the registry is read; local (a file) only with IN_ENCLAVE=false.
	-- Allowed: one of evm, local.
	-- CHAIN = "evm",

	-- RPC of the chain; in an enclave a light client on loopback, or at least two URLs.
	-- Allowed: 1 to 64 URLs separated by commas, each http:// or https:// with a host, no user name or fragment.
	-- HELIOS_RPC_URL = "http://127.0.0.1:18545",

	-- Contract that lists applications, versions and instances.
	-- Allowed: a contract address: 0x and 40 hexadecimal digits, not all zero.
	-- NOVA_APP_REGISTRY_ADDRESS = "",

	-- Contract that holds the hash of the cluster's master secret.
	-- Allowed: a contract address: 0x and 40 hexadecimal digits, not all zero.
	-- KMS_REGISTRY_ADDRESS = "",

	-- Application id of the KMS nodes themselves.
	-- Allowed: a whole number from 1 to 18446744073709551615.
	-- KMS_APP_ID = "49",

	-- Chain id that must not change; 0: the one found at start.
	-- Allowed: a whole number from 0 to 9007199254740991.
	-- CHAIN_ID = 0,

	-- Blocks behind the head at which the chain is read; 0: the head.
	-- Allowed: a whole number from 0 to 1000.
	-- CHAIN_CONFIRMATIONS = 6,

	-- A head block older than this, in seconds, is no answer.
	-- Allowed: a whole number from 1 to 86400.
	-- MAX_HEAD_AGE_SECONDS = 300,

	-- How long an application's authorisation is remembered, in seconds.
	-- Allowed: a whole number from 1 to 86400.
	-- REGISTRY_CACHE_TTL_SECONDS = 180,

	-- Cluster -------------------------------------------------------------------------------

	-- Between two checks of this node against the chain, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- KMS_NODE_TICK_SECONDS = 60,

	-- How long the last good view of the cluster counts, in seconds; three ticks at least.
	-- Allowed: a whole number from 1 to 86400.
	-- PEER_CACHE_TTL_SECONDS = 180,

	-- Between two pushes of changes to peers, in seconds; to nodes of this version also right after a change.
	-- Allowed: a whole number from 1 to 3600.
	-- DATA_SYNC_INTERVAL_SECONDS = 10,

	-- How long a peer that failed verification is ignored, in seconds.
	-- Allowed: a whole number from 1 to 2592000.
	-- PEER_BLACKLIST_DURATION_SECONDS = 600,

	-- Allow-list file of images (kms.attest): only peers that show one of them get the master secret.
	-- Allowed: 1 to 4096 characters, none of them a control character.
	-- REQUIRE_PEER_ATTESTATION = "",

	-- Peers may be at private and loopback addresses; not set: only with IN_ENCLAVE=false.
	-- Allowed: true or false.
	-- ALLOW_PRIVATE_PEERS = nil,

	-- HTTP proxy for outbound requests; not set: in an enclave what https_proxy and http_proxy name.
	-- Allowed: http:// or https:// with a host, no user name, query or fragment.
	-- EGRESS_PROXY = "",

	-- Rates (0: no limit) -------------------------------------------------------------------

	-- Requests a minute from a client address (IPv6: /64).
	-- Allowed: a whole number from 0 to 1000000000.
	-- RATE_LIMIT_PER_MINUTE = 120,

	-- GET /nonce a minute from a client address; as many GET /attestation beside them.
	-- Allowed: a whole number from 0 to 1000000000.
	-- NONCE_RATE_LIMIT_PER_MINUTE = 30,

	-- Authenticated requests a minute of an application, and of a wallet.
	-- Allowed: a whole number from 0 to 1000000000.
	-- APP_RATE_LIMIT_PER_MINUTE = 6000,

	-- Addresses and ranges whose X-Forwarded-For counts.
	-- Allowed: 0 to 64 ranges separated by commas, each an address or address/bits with no bit set beyond the prefix.
	-- TRUSTED_PROXIES = "",

	-- Records -------------------------------------------------------------------------------

	-- Longest value, in bytes before encryption.
	-- Allowed: a whole number from 1 to 16777216.
	-- MAX_KV_VALUE_SIZE_BYTES = 1 * 1024 * 1024,

	-- Longest key, in bytes.
	-- Allowed: a whole number from 1 to 65536.
	-- MAX_KEY_BYTES = 4096,

	-- Ciphertext of an application, in bytes; beyond it the least recently used goes.
	-- Allowed: a whole number from 28 to 1099511627776.
	-- MAX_APP_STORAGE_BYTES = 10 * 1024 * 1024,

	-- Everything the store holds, in bytes, its own overhead included.
	-- Allowed: a whole number from 1 to 1099511627776.
	-- MAX_TOTAL_STORAGE_BYTES = 512 * 1024 * 1024,

	-- Applications that can have records.
	-- Allowed: a whole number from 1 to 500000.
	-- MAX_NAMESPACES = 10000,

	-- How long a deletion is remembered, in milliseconds.
	-- Allowed: a whole number from 0 to 31536000000.
	-- TOMBSTONE_RETENTION_MS = 86400000,

	-- Deletions remembered for an application; at ten times as many DELETE answers 503.
	-- Allowed: a whole number from 1 to 10000000.
	-- MAX_TOMBSTONES_PER_APP = 100000,

	-- How far in the future a record from a peer may be stamped, in milliseconds.
	-- Allowed: a whole number from 0 to 3600000.
	-- MAX_CLOCK_SKEW_MS = 15000,

	-- Bodies --------------------------------------------------------------------------------

	-- Longest request body, in bytes; a value of 1 MiB is 2.8 MB as an envelope.
	-- Allowed: a whole number from 1 to 1073741824.
	-- MAX_REQUEST_BODY_BYTES = 4 * 1024 * 1024,

	-- Longest body on /sync, in bytes.
	-- Allowed: a whole number from 1 to 4294967296.
	-- MAX_SYNC_PAYLOAD_BYTES = 50 * 1024 * 1024,

	-- Longest snapshot accepted from a peer, in bytes.
	-- Allowed: a whole number from 1 to 68719476736.
	-- MAX_SNAPSHOT_BYTES = 512 * 1024 * 1024,

	-- Bodies in flight all together, in bytes, beyond it 503; as much for answers that wait for clients.
	-- Allowed: a whole number from 1 to 1099511627776.
	-- MAX_BODY_MEMORY_BYTES = 256 * 1024 * 1024,

	-- HTTP ----------------------------------------------------------------------------------

	-- Open connections.
	-- Allowed: a whole number from 1 to 1000000.
	-- MAX_CONNECTIONS = 4096,

	-- Open connections from one client address (IPv6: /64).
	-- Allowed: a whole number from 1 to 1000000.
	-- MAX_CONNECTIONS_PER_ADDRESS = 256,

	-- Derived channel keys that are kept, one a client key.
	-- Allowed: a whole number from 1 to 65536.
	-- MAX_CHANNELS = 4096,

	-- Longest request line and headers together, in bytes.
	-- Allowed: a whole number from 1024 to 65536.
	-- MAX_HEADER_BYTES = 16384,

	-- From a connection to its first byte, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- FIRST_BYTE_TIMEOUT_SECONDS = 10,

	-- From a request's first byte to the end of its headers, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- HEADER_TIMEOUT_SECONDS = 10,

	-- From the end of the headers to the end of the body, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- BODY_TIMEOUT_SECONDS = 30,

	-- Between two requests of a connection, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- IDLE_TIMEOUT_SECONDS = 75,

	-- For a client to take its answer, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- WRITE_TIMEOUT_SECONDS = 30,

	-- For running requests to finish and changes to reach the other members after SIGTERM, in seconds.
	-- Allowed: a whole number from 1 to 3600.
	-- SHUTDOWN_TIMEOUT_SECONDS = 10,
}
