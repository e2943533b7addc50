-- Configuration of a nova-kms node: every key with its default, commented out.
--
-- Uncomment a line to change it. An environment variable of the same name overrides what is
-- set here; an empty one counts as not set. `nova-kms config check` lists mistakes, or the values
-- in force, and variables whose names look like misspelt settings. The file is Lua that returns a
-- table: arithmetic works, functions cannot be called. Durations and sizes may have a unit:
-- SESSION_TTL_SECONDS = "2h", MAX_TOTAL_STORAGE_BYTES = "2GiB".
-- Secrets do not belong here.
return {

	-- Node ----------------------------------------------------------------------------------

	-- Whether the node runs in an enclave; false is for development and allows what is unsafe elsewhere.
	-- Allowed: true or false.
	-- IN_ENCLAVE = true,

	-- Address to listen on for HTTP; TLS ends at the platform's ingress.
	-- Allowed: address:port or [IPv6 address]:port, no host name (port 0: any free one).
	-- BIND_ADDR = "0.0.0.0:8000",

	-- Origins of web pages that may call this node from browsers; none: no page of another origin may.
	-- Allowed: 0 to 64 origins separated by commas, each http(s)://host[:port] as browsers send it, in lower case.
	-- CORS_ORIGINS = "",

	-- URL of this node for its peers; not set: the registered one.
	-- Allowed: http:// or https:// with a host, no user name, query or fragment.
	-- NODE_INSTANCE_URL = "",

	-- Backend that holds the node's keys; sim only with IN_ENCLAVE=false.
	-- Allowed: one of odyn, nitro, sim.
	-- TEE = "odyn",

	-- URL of the Odyn service, with TEE=odyn.
	-- Allowed: http:// or https:// with a host, no user name, query or fragment.
	-- ODYN_URL = "http://127.0.0.1:18000",

	-- Folder of the sim seed, the local chain and hashes of authorised wallets; nothing else goes to disk.
	-- Allowed: 1 to 4096 characters without control characters.
	-- DATA_DIR = "data",

	-- Folder of the operator's policy files; it must exist when set. Shipped files replace missing ones.
	-- Allowed: 1 to 4096 characters without control characters.
	-- POLICY_DIR = "config/policy",

	-- Address to listen on for GET /metrics, over plain HTTP; 0: off.
	-- Allowed: 0 (off), or address:port or [IPv6 address]:port, no host name (port 0: any free one).
	-- METRICS_ADDR = "127.0.0.1:9464",

	-- Show the node's state in a browser too: GET /ui on METRICS_ADDR, read-only.
	-- Allowed: true or false.
	-- STATUS_PAGE = true,

	-- Unix socket for the node's operator; auto: DATA_DIR/control.sock, off with IN_ENCLAVE=true.
	-- Allowed: auto, off, or a path with a / in it, at most 100 bytes.
	-- CONTROL_SOCKET = "auto",

	-- Threads for native work, one of which (of several) long work leaves free; 0: one per core, at least 2.
	-- Allowed: a whole number from 0 to 256.
	-- THREADS = 0,

	-- Bytes of guarded memory for secrets, rounded down to a power of two; 0: as much as may be locked.
	-- Allowed: 0 or a whole number from 8388608 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- LOCKED_MEMORY_BYTES = 0,

	-- Log -----------------------------------------------------------------------------------

	-- The least serious events that are logged.
	-- Allowed: one of error, warn, info, debug.
	-- LOG_LEVEL = "info",

	-- auto: text on a terminal, JSON otherwise.
	-- Allowed: one of auto, text, json.
	-- LOG_FORMAT = "auto",

	-- Log paths, contexts and key names as they are; false: log a keyed hash of them.
	-- Allowed: true or false.
	-- LOG_NAMES = false,

	-- Audit log -----------------------------------------------------------------------------

	-- File of the audit log, or stdout: who was given key material, who was refused, what was changed.
	-- Allowed: off, stdout, or the path of a file from / on, at most 3900 bytes.
	-- AUDIT = "off",

	-- The audit log's file is moved aside before it is longer, in bytes.
	-- Allowed: a whole number from 65536 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- AUDIT_FILE_BYTES = 256 * 1024 * 1024,

	-- Audit reading and writing of records, too.
	-- Allowed: true or false.
	-- AUDIT_RECORDS = false,

	-- Identity and secrets ------------------------------------------------------------------

	-- The cluster's master secret, 64 hexadecimal digits; from the environment only, wiped from it.
	-- Allowed: 64 hexadecimal digits, from the environment only.

	-- Accept MASTER_SECRET_HEX with IN_ENCLAVE=true too, although the operator then knows the secret.
	-- Allowed: true or false.
	-- ALLOW_OPERATOR_SECRET = false,

	-- A request may name its wallet in X-Tee-Wallet instead of proving it; only with IN_ENCLAVE=false.
	-- Allowed: true or false.
	-- ALLOW_DEV_IDENTITY = false,

	-- Refuse bodies without pop, of applications and of members; existing clients and nodes have none.
	-- Allowed: true or false.
	-- REQUIRE_POP = false,

	-- How long a nonce is valid, and how far a timestamp may be off, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- POP_TIMEOUT_SECONDS = 120,

	-- Chain ---------------------------------------------------------------------------------

	-- Where the registries are read; local (a file) only with IN_ENCLAVE=false.
	-- Allowed: one of evm, local.
	-- CHAIN = "evm",

	-- RPC of the chain; in an enclave a light client on loopback, or at least two URLs.
	-- Allowed: 1 to 64 URLs separated by commas, each http:// or https:// with a host, no user name or fragment.
	-- HELIOS_RPC_URL = "http://127.0.0.1:18545",

	-- How long an RPC server may take for a response, in milliseconds; another one is asked after a second.
	-- Allowed: a whole number from 100 to 60000, or a text with a unit (ms, s, m, h, d).
	-- RPC_TIMEOUT_MS = 8000,

	-- Contract that lists applications, versions and instances.
	-- Allowed: a contract address: 0x and 40 hexadecimal digits, not all zero.
	-- NOVA_APP_REGISTRY_ADDRESS = "",

	-- Contract that holds the hash of the cluster's master secret.
	-- Allowed: a contract address: 0x and 40 hexadecimal digits, not all zero.
	-- KMS_REGISTRY_ADDRESS = "",

	-- Application id of the KMS nodes themselves.
	-- Allowed: a whole number from 1 to 18446744073709551615.
	-- KMS_APP_ID = "49",

	-- Expected chain id; 0: the one that is found at the start.
	-- Allowed: a whole number from 0 to 9007199254740991.
	-- CHAIN_ID = 0,

	-- Blocks behind the head at which the chain is read; 0: the head.
	-- Allowed: a whole number from 0 to 1000.
	-- CHAIN_CONFIRMATIONS = 6,

	-- Oldest head block that is accepted, in seconds.
	-- Allowed: a whole number from 1 to 86400, or a text with a unit (ms, s, m, h, d).
	-- MAX_HEAD_AGE_SECONDS = 300,

	-- How long an application's authorization is cached, in seconds.
	-- Allowed: a whole number from 1 to 86400, or a text with a unit (ms, s, m, h, d).
	-- REGISTRY_CACHE_TTL_SECONDS = 180,

	-- Cluster -------------------------------------------------------------------------------

	-- Interval between checks of this node against the chain, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- KMS_NODE_TICK_SECONDS = 60,

	-- How long the last good chain view is used, in seconds; at least three ticks.
	-- Allowed: a whole number from 1 to 86400, or a text with a unit (ms, s, m, h, d).
	-- PEER_CACHE_TTL_SECONDS = 180,

	-- Interval between pushes of changes to peers, in seconds; nodes of this version get them at once.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- DATA_SYNC_INTERVAL_SECONDS = 10,

	-- Interval between fetches of the snapshots of existing nodes, one at a time, in seconds; 0: none.
	-- Allowed: a whole number from 0 to 86400, or a text with a unit (ms, s, m, h, d).
	-- SNAPSHOT_COMPARE_SECONDS = 600,

	-- How long a node without the cluster's records waits, in seconds, when all others refuse connections.
	-- Allowed: a whole number from 0 to 86400, or a text with a unit (ms, s, m, h, d).
	-- LONELY_SECONDS = 30,

	-- The same, when one of them does not answer at all: it may hold what no other member has.
	-- Allowed: a whole number from 0 to 86400, or a text with a unit (ms, s, m, h, d).
	-- LONELY_SILENT_SECONDS = 300,

	-- Serve at once what is here when no member with a complete store answers, whatever the others may hold.
	-- Allowed: true or false.
	-- SERVE_ALONE = false,

	-- How long a peer that failed verification is banned, in seconds.
	-- Allowed: a whole number from 1 to 2592000, or a text with a unit (ms, s, m, h, d).
	-- PEER_BLACKLIST_DURATION_SECONDS = 600,

	-- File with an allow list of images: only peers that prove to run one of them get the master secret.
	-- Allowed: 1 to 4096 characters without control characters.
	-- REQUIRE_PEER_ATTESTATION = "",

	-- File with the custodians who together restore the master secret of a cluster that lost all its nodes.
	-- Allowed: 1 to 4096 characters without control characters.
	-- RECOVERY = "",

	-- Peers may be at private and loopback addresses; not set: only with IN_ENCLAVE=false.
	-- Allowed: true or false.
	-- ALLOW_PRIVATE_PEERS = nil,

	-- HTTP proxy for outbound calls; not set: in an enclave the one of https_proxy and http_proxy.
	-- Allowed: http:// or https:// with a host, no user name, query or fragment.
	-- EGRESS_PROXY = "",

	-- Sealed snapshots ----------------------------------------------------------------------

	-- Where sealed snapshots of the records are kept, which survive the loss of every node.
	-- Allowed: off, the path of a folder from / on, s3://bucket/prefix, or odyn.
	-- SNAPSHOT = "off",

	-- Interval between sealed snapshots, as far as something changed, in seconds; one more at a graceful stop.
	-- Allowed: a whole number from 1 to 86400, or a text with a unit (ms, s, m, h, d).
	-- SNAPSHOT_INTERVAL_SECONDS = 300,

	-- Full sets of this node that are kept, with the changes that belong to them.
	-- Allowed: a whole number from 1 to 100.
	-- SNAPSHOT_KEEP = 3,

	-- Restore sealed snapshots although newer ones are known of, or some are not usable.
	-- Allowed: true or false.
	-- RESTORE_OLDER = false,

	-- Put hash and time of the newest snapshot on chain, and restore none that is older; costs fees.
	-- Allowed: true or false.
	-- SNAPSHOT_ANCHOR = false,

	-- Least time between two anchors of this node, in seconds.
	-- Allowed: a whole number from 1 to 2592000, or a text with a unit (ms, s, m, h, d).
	-- SNAPSHOT_ANCHOR_SECONDS = 24 * 60 * 60,

	-- Rates (0: no limit) -------------------------------------------------------------------

	-- Requests per minute from a client address (IPv6: /64; a /48 counts as 16 at most).
	-- Allowed: a whole number from 0 to 1000000000.
	-- RATE_LIMIT_PER_MINUTE = 120,

	-- GET /nonce per minute from a client address; GET /attestation has the same limit of its own.
	-- Allowed: a whole number from 0 to 1000000000.
	-- NONCE_RATE_LIMIT_PER_MINUTE = 30,

	-- Authenticated requests per minute of an application, and of a wallet.
	-- Allowed: a whole number from 0 to 1000000000.
	-- APP_RATE_LIMIT_PER_MINUTE = 6000,

	-- Addresses and ranges of proxies whose X-Forwarded-For is trusted.
	-- Allowed: 0 to 64 ranges separated by commas, each an address or address/bits with no bit set beyond the prefix.
	-- TRUSTED_PROXIES = "",

	-- Sessions ------------------------------------------------------------------------------

	-- Most open sessions; a quarter of the guarded memory bounds them too, at 1 KiB each.
	-- Allowed: a whole number from 1 to 16384.
	-- MAX_SESSIONS = 16384,

	-- Open sessions of a wallet; one more replaces its least recently used.
	-- Allowed: a whole number from 1 to 64.
	-- SESSIONS_PER_WALLET = 8,

	-- How long a session lasts, in seconds; a quarter of that without use ends it too.
	-- Allowed: a whole number from 4 to 604800, or a text with a unit (ms, s, m, h, d).
	-- SESSION_TTL_SECONDS = 3600,

	-- Sessions that a wallet may open per minute; 0: no limit.
	-- Allowed: a whole number from 0 to 1000000000.
	-- SESSION_OPEN_PER_MINUTE = 30,

	-- Speak with members that have sessions in these only; false: in version 1 with all of them.
	-- Allowed: true or false.
	-- PEER_SESSIONS = true,

	-- Serve applications in sessions only, and refuse the requests of existing clients.
	-- Allowed: true or false.
	-- REQUIRE_SESSION = false,

	-- Longest answer to a message of a session, in bytes; operations beyond it get 413.
	-- Allowed: a whole number from 460036 to 1073741824, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_SESSION_ANSWER_BYTES = 16777216,

	-- Records -------------------------------------------------------------------------------

	-- Longest value, in bytes before encryption; limits of bodies that are not set grow with it.
	-- Allowed: a whole number from 1 to 16777216, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_KV_VALUE_SIZE_BYTES = 1 * 1024 * 1024,

	-- Longest key that is written here, in bytes; members may send records with keys of up to 65536.
	-- Allowed: a whole number from 1 to 65536, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_KEY_BYTES = 4096,

	-- Keys in one reply of GET /kms/data, in bytes as JSON; beyond it a client asks for pages.
	-- Allowed: a whole number from 1048576 to 67108864, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_LIST_BYTES = 4 * 1024 * 1024,

	-- Ciphertext of an application, in bytes; beyond it the least recently used records are evicted.
	-- Allowed: a whole number from 28 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_APP_STORAGE_BYTES = 10 * 1024 * 1024,

	-- All that an application's records cost (keys, clocks, stubs, tombstones, overhead); 0: 4 x MAX_APP_STORAGE_BYTES.
	-- Allowed: 0 or a whole number from 65536 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_APP_TOTAL_BYTES = 0,

	-- Memory of the whole store, in bytes, its overhead included.
	-- Allowed: a whole number from 1 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_TOTAL_STORAGE_BYTES = 512 * 1024 * 1024,

	-- Most applications that have records; the last eighth of them is kept for writes by clients of this node.
	-- Allowed: a whole number from 1 to 500000.
	-- MAX_NAMESPACES = 10000,

	-- A write is answered when that many nodes hold it, this one included; 1: at once.
	-- Allowed: a whole number from 1 to 8.
	-- WRITE_COPIES = 2,

	-- The longest that a write waits for other nodes, in milliseconds.
	-- Allowed: a whole number from 1 to 60000, or a text with a unit (ms, s, m, h, d).
	-- WRITE_WAIT_MS = 500,

	-- Answer a write that too few nodes hold in time with 503, though this node holds it.
	-- Allowed: true or false.
	-- WRITE_STRICT = false,

	-- Accept values that existing members cannot take (above 509 KiB); those keep the value before.
	-- Allowed: true or false.
	-- ALLOW_PARTIAL_REPLICATION = false,

	-- How long tombstones of deleted records are kept, in milliseconds.
	-- Allowed: a whole number from 0 to 31536000000, or a text with a unit (ms, s, m, h, d).
	-- TOMBSTONE_RETENTION_MS = 86400000,

	-- Tombstones kept for an application; at ten times as many, DELETE gets 503.
	-- Allowed: a whole number from 1 to 10000000.
	-- MAX_TOMBSTONES_PER_APP = 100000,

	-- How far in the future a record from a peer may be stamped, in milliseconds.
	-- Allowed: a whole number from 0 to 3600000, or a text with a unit (ms, s, m, h, d).
	-- MAX_CLOCK_SKEW_MS = 15000,

	-- Bodies --------------------------------------------------------------------------------

	-- Longest request body, in bytes; a value of 1 MiB is 2.8 MB as an envelope.
	-- Allowed: a whole number from 789504 to 1073741824, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_REQUEST_BODY_BYTES = 4 * 1024 * 1024,

	-- Longest body on /sync, in bytes.
	-- Allowed: a whole number from 827908 to 4294967296, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_SYNC_PAYLOAD_BYTES = 50 * 1024 * 1024,

	-- Longest snapshot accepted from a peer, in bytes.
	-- Allowed: a whole number from 827908 to 68719476736, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_SNAPSHOT_BYTES = 512 * 1024 * 1024,

	-- Memory of all request bodies, in bytes, beyond it 503; unsent replies have the same limit of their own.
	-- Allowed: a whole number from 1263207 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_BODY_MEMORY_BYTES = 256 * 1024 * 1024,

	-- Memory of one application's request bodies, in bytes, beyond it 429.
	-- Allowed: a whole number from 789504 to 1099511627776, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_APP_BODY_MEMORY_BYTES = 32 * 1024 * 1024,

	-- A body that arrives more slowly, over 5 seconds, gets 408; 0: only BODY_TIMEOUT_SECONDS counts.
	-- Allowed: a whole number from 0 to 1073741824.
	-- MIN_BODY_BYTES_PER_SECOND = 4096,

	-- HTTP ----------------------------------------------------------------------------------

	-- Most open connections.
	-- Allowed: a whole number from 1 to 1000000.
	-- MAX_CONNECTIONS = 4096,

	-- Most open connections from one client address (IPv6: /64); a /48 has 16 times as many, or half of all.
	-- Allowed: a whole number from 1 to 1000000.
	-- MAX_CONNECTIONS_PER_ADDRESS = 256,

	-- Most cached channel keys, one per client key.
	-- Allowed: a whole number from 1 to 65536.
	-- MAX_CHANNELS = 4096,

	-- Longest headers of a request together, in bytes; the request line has a limit of its own.
	-- Allowed: a whole number from 1024 to 65536, or a text with a unit (B, KiB, MiB, GiB, TiB).
	-- MAX_HEADER_BYTES = 16384,

	-- Time from a connection to its first byte, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- FIRST_BYTE_TIMEOUT_SECONDS = 10,

	-- Time from a request's first byte to the end of its headers, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- HEADER_TIMEOUT_SECONDS = 10,

	-- Time from the end of the headers to the end of the body, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- BODY_TIMEOUT_SECONDS = 30,

	-- Time between two requests of a connection, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- IDLE_TIMEOUT_SECONDS = 75,

	-- Time for a client to take its reply, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- WRITE_TIMEOUT_SECONDS = 30,

	-- Time for running requests to finish and changes to reach the other members after SIGTERM, in seconds.
	-- Allowed: a whole number from 1 to 3600, or a text with a unit (ms, s, m, h, d).
	-- SHUTDOWN_TIMEOUT_SECONDS = 10,
}
