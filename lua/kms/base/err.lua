--- Errors on the wire (docs/protocol.md section 2): their codes, and the code and reason that each error name
-- maps to. Messages are public: they hold no secret, no path and no trace.

local cjson = require("cjson")

local text = require("kms.base.text")

local M = {}

local MAX_MESSAGE = 512 -- bytes

-- Wire code -> HTTP status, default text.
local WIRE = {
	bad_request = { 400, "bad request" },
	unauthorized = { 403, "not authorized" },
	forbidden = { 403, "forbidden" },
	stale = { 403, "stale" },
	not_found = { 404, "not found" },
	session_unknown = { 410, "no such session" },
	session_replay = { 409, "this number was used" },
	method_not_allowed = { 405, "method not allowed" },
	not_implemented = { 501, "not implemented" },
	payload_too_large = { 413, "payload too large" },
	rate_limited = { 429, "too many requests" },
	internal_error = { 500, "internal error" },
	service_unavailable = { 503, "service unavailable" },
}

-- The reason of each error name, by wire code: the statuses of include/kms/kms.h, then those that only Lua code
-- returns. Failures that are this node's own business share a reason.
local NAMES = {
	bad_request = {
		ERR_HEX = "bad_hex", ERR_BASE64 = "bad_base64", ERR_JSON = "bad_json",
		ERR_JSON_DUPLICATE = "json_duplicate_key", ERR_JSON_DEPTH = "json_too_deep",
		ERR_JSON_SIZE = "json_too_large", ERR_UTF8 = "bad_utf8", ERR_ENVELOPE = "bad_envelope",
		ERR_DECRYPT = "cannot_decrypt", ERR_PEER_KEY = "bad_public_key", ERR_PRIVATE_KEY = "bad_private_key",
		ERR_FIELD_MISSING = "field_missing", ERR_FIELD_TYPE = "field_type", ERR_FIELD_VALUE = "field_value",
		ERR_APP_ID_IN_REQUEST = "app_id_in_request", ERR_RECORD = "bad_record", ERR_ADDRESS = "bad_address",
		ERR_TRUNCATED = "truncated", ERR_TRAILING = "trailing_bytes", ERR_VALUE_SIZE = "value_size",
		ERR_KEY_SIZE = "key_size", ERR_TTL = "bad_ttl", ERR_CLOCK_ENTRIES = "bad_clock",
		ERR_FUTURE = "stamped_in_future", ERR_URL = "bad_url", ERR_BAD_REQUEST = "malformed_request",
		ERR_FIELD_UNKNOWN = "field_unknown", ERR_RECIPIENT = "bad_recipient", ERR_AGE = "bad_age_file",
		ERR_SHARE = "bad_share", ERR_SHARE_SET = "other_custodians", ERR_SHARE_SECRET = "other_secret",
		ERR_SHARE_PLACE = "other_custodian", ERR_CHALLENGE = "bad_challenge",
		ERR_REQUEST_TIMEOUT = "request_timeout", ERR_CODING = "unsupported_coding",
		ERR_PRECONDITION = "precondition_failed",
	},
	unauthorized = {
		ERR_SIGNATURE = "bad_signature", ERR_POP_MISSING = "missing_headers",
		ERR_POP_TIMESTAMP = "stale_timestamp", ERR_POP_NONCE = "nonce_unknown", ERR_POP_NONCE_USED = "nonce_used",
		ERR_CUSTODIAN = "custodian_unproven", ERR_SHARES = "shares_do_not_fit",
		ERR_POP_WALLET = "wallet_mismatch", ERR_POP_DUPLICATE = "repeated_header",
		ERR_SEALED = "sealed_data_changed", ERR_MAC = "bad_sync_signature", ERR_ATTEST = "attestation_untrusted",
		ERR_UNAUTHORIZED = "unauthorized", ERR_NOT_REGISTERED = "not_registered",
		ERR_INSTANCE_INACTIVE = "instance_inactive", ERR_INSTANCE_UNVERIFIED = "instance_unverified",
		ERR_APP_INACTIVE = "app_inactive", ERR_VERSION_REVOKED = "version_revoked",
	},
	forbidden = {
		ERR_SENDER_KEY = "sender_key_mismatch", ERR_POP_BINDING = "pop_mismatch", ERR_OPERATION = "operation_mismatch",
		ERR_FORBIDDEN = "forbidden",
		ERR_POLICY = "policy", ERR_NOT_WAITING = "not_waiting",
	},
	stale = {
		ERR_STALE = "stale_message",
	},
	session_unknown = {
		ERR_SESSION_UNKNOWN = "session_unknown",
	},
	session_replay = {
		ERR_SESSION_REPLAY = "session_replay",
	},
	not_found = {
		ERR_NOT_FOUND = "not_found", ERR_NO_ROUTE = "no_route",
	},
	method_not_allowed = {
		ERR_METHOD = "method_not_allowed",
	},
	not_implemented = {
		ERR_NOT_IMPLEMENTED = "not_implemented",
	},
	payload_too_large = {
		ERR_TOO_LARGE = "too_large", ERR_STORAGE_SIZE = "storage_size",
	},
	rate_limited = {
		ERR_RATE = "rate_limited", ERR_NONCES_OUT = "nonces_out",
	},
	internal_error = {
		ERR_ARGUMENT = "internal_error", ERR_STATE = "internal_error", ERR_RANGE = "internal_error",
		ERR_CRYPTO = "internal_error", ERR_SYSTEM = "internal_error", ERR_SELFTEST = "internal_error",
		ERR_MLOCK = "internal_error", ERR_FILE_MODE = "internal_error", ERR_FILE_FORMAT = "internal_error",
		ERR_FILE_MISSING = "internal_error", ERR_NSM_MISSING = "internal_error", ERR_NSM_ACCESS = "internal_error",
		ERR_NSM = "internal_error", ERR_NSM_REFUSED = "internal_error", ERR_NSM_ANSWER = "internal_error",
		ERR_CONFINE = "internal_error",
	},
	service_unavailable = {
		ERR_MEMORY = "out_of_memory", ERR_LOCKED_MEMORY = "out_of_memory", ERR_STORE_FULL = "store_full",
		ERR_NAMESPACES = "too_many_namespaces", ERR_TOMBSTONES = "too_many_deleted", ERR_BUSY = "busy",
		ERR_TIMEOUT = "upstream_failed", ERR_CONNECT = "upstream_failed", ERR_RESOLVE = "upstream_failed",
		ERR_TLS = "upstream_failed", ERR_ADDRESS_REFUSED = "upstream_failed", ERR_HTTP = "upstream_failed",
		ERR_ABI = "upstream_failed", ERR_TEE = "tee_unavailable", ERR_CHAIN = "chain_unavailable",
		ERR_OLD_STATE = "chain_unavailable", ERR_NOT_READY = "not_ready", ERR_REFUSED = "upstream_failed",
		ERR_NOT_LISTED = "upstream_failed", ERR_NO_SESSION = "upstream_failed", ERR_CLOCK = "clock",
		ERR_UNVERIFIED = "upstream_failed", ERR_NOTHING = "upstream_failed", ERR_NOT_REPLICATED = "not_replicated",
	},
}

-- Names whose HTTP status is not that of their wire code.
local STATUSES = { ERR_REQUEST_TIMEOUT = 408, ERR_CODING = 415, ERR_PRECONDITION = 412 }

-- Names whose messages stay private, as those of internal errors do: they describe failures between
-- this node and the services that it calls.
local PRIVATE = {
	ERR_TIMEOUT = true, ERR_CONNECT = true, ERR_RESOLVE = true, ERR_TLS = true, ERR_ADDRESS_REFUSED = true,
	ERR_HTTP = true, ERR_ABI = true, ERR_TEE = true, ERR_OLD_STATE = true,
}

local CODES, REASONS = {}, {}
for code, names in pairs(NAMES) do
	for name, reason in pairs(names) do CODES[name], REASONS[name] = code, reason end
end

--- All error names, sorted.
function M.names()
	local list = {}
	for name in pairs(CODES) do list[#list + 1] = name end
	table.sort(list)
	return list
end

--- Maps an error name to the wire. An unknown name is an internal error.
-- @param name  "ERR_HEX"
-- @return wire code ("bad_request"), HTTP status
function M.wire(name)
	local code = CODES[name] or "internal_error"
	return code, STATUSES[name] or WIRE[code][1]
end

--- Why, for programs: finer than the wire code. An unknown name is an internal error.
-- @param name  "ERR_POP_NONCE_USED"
-- @return "nonce_used"
function M.reason(name)
	return REASONS[name] or "internal_error"
end

--- The reply for an error.
-- @param name  "ERR_..."
-- @param message  public text; nil, or an internal error: the default text is sent
-- @param headers  further headers, name -> text or number, or nil
-- @return { status, body (JSON), headers (name -> text), code (the name, for the log), message (as sent) }
function M.reply(name, message, headers)
	local code, status = M.wire(name)
	if code == "internal_error" or PRIVATE[name] then message = nil end
	local public = text.cut(text.utf8(message or WIRE[code][2]), MAX_MESSAGE)
	local all = { ["Content-Type"] = "application/json" }
	for header, value in pairs(headers or {}) do all[header] = tostring(value) end
	return {
		status = status, code = name, headers = all, message = public,
		body = ('{"code":"%s","reason":"%s","message":%s}'):format(code, M.reason(name), cjson.encode(public)),
	}
end

return M
