--- Errors on the wire (docs/protocol.md section 2): their codes, and the code that each error name maps
-- to. Messages are public: they hold no secret, no path and no trace.

local cjson = require("cjson")

local text = require("kms.base.text")

local M = {}

local MAX_MESSAGE = 512 -- bytes

-- Wire code -> HTTP status, default text.
local WIRE = {
	bad_request = { 400, "bad request" },
	unauthorized = { 403, "not authorized" },
	forbidden = { 403, "forbidden" },
	not_found = { 404, "not found" },
	method_not_allowed = { 405, "method not allowed" },
	payload_too_large = { 413, "payload too large" },
	rate_limited = { 429, "too many requests" },
	internal_error = { 500, "internal error" },
	service_unavailable = { 503, "service unavailable" },
}

-- Error names by wire code: the statuses of include/kms/kms.h, then those that only Lua code returns.
local NAMES = {
	bad_request = {
		"ERR_HEX", "ERR_BASE64", "ERR_JSON", "ERR_JSON_DUPLICATE", "ERR_JSON_DEPTH", "ERR_JSON_SIZE", "ERR_UTF8",
		"ERR_ENVELOPE", "ERR_DECRYPT", "ERR_PEER_KEY", "ERR_PRIVATE_KEY", "ERR_FIELD_MISSING", "ERR_FIELD_TYPE",
		"ERR_FIELD_VALUE", "ERR_APP_ID_IN_REQUEST", "ERR_RECORD", "ERR_ADDRESS", "ERR_TRUNCATED", "ERR_TRAILING",
		"ERR_VALUE_SIZE", "ERR_KEY_SIZE", "ERR_TTL", "ERR_CLOCK_ENTRIES", "ERR_FUTURE", "ERR_URL",
		"ERR_FIELD_UNKNOWN",
		"ERR_BAD_REQUEST", "ERR_REQUEST_TIMEOUT",
	},
	unauthorized = {
		"ERR_SIGNATURE", "ERR_POP_MISSING", "ERR_POP_TIMESTAMP", "ERR_POP_NONCE", "ERR_POP_WALLET", "ERR_POP_DUPLICATE",
		"ERR_SEALED", "ERR_MAC", "ERR_ATTEST",
		"ERR_UNAUTHORIZED",
	},
	forbidden = { "ERR_SENDER_KEY", "ERR_POP_BINDING", "ERR_OPERATION", "ERR_FORBIDDEN", "ERR_POLICY" },
	not_found = { "ERR_NOT_FOUND", "ERR_NO_ROUTE" },
	method_not_allowed = { "ERR_METHOD" },
	payload_too_large = { "ERR_TOO_LARGE", "ERR_STORAGE_SIZE" },
	rate_limited = { "ERR_RATE", "ERR_NONCES_OUT" },
	internal_error = {
		"ERR_ARGUMENT", "ERR_STATE", "ERR_RANGE", "ERR_CRYPTO", "ERR_SYSTEM", "ERR_SELFTEST", "ERR_MLOCK",
		"ERR_FILE_MODE", "ERR_FILE_FORMAT", "ERR_FILE_MISSING",
		"ERR_NSM_MISSING", "ERR_NSM_ACCESS", "ERR_NSM", "ERR_NSM_REFUSED", "ERR_NSM_ANSWER", "ERR_CONFINE",
	},
	service_unavailable = {
		"ERR_MEMORY", "ERR_LOCKED_MEMORY", "ERR_STORE_FULL", "ERR_NAMESPACES", "ERR_TOMBSTONES", "ERR_BUSY",
		"ERR_TIMEOUT", "ERR_CONNECT", "ERR_RESOLVE", "ERR_TLS", "ERR_ADDRESS_REFUSED", "ERR_HTTP", "ERR_ABI",
		"ERR_TEE", "ERR_CHAIN", "ERR_OLD_STATE", "ERR_NOT_READY", "ERR_REFUSED", "ERR_UNVERIFIED", "ERR_NOTHING",
	},
}

-- Names whose HTTP status is not that of their wire code.
local STATUSES = { ERR_REQUEST_TIMEOUT = 408 }

-- Names whose messages stay private, as those of internal errors do: they describe failures between
-- this node and the services that it calls.
local PRIVATE = {
	ERR_TIMEOUT = true, ERR_CONNECT = true, ERR_RESOLVE = true, ERR_TLS = true, ERR_ADDRESS_REFUSED = true,
	ERR_HTTP = true, ERR_ABI = true, ERR_TEE = true, ERR_OLD_STATE = true,
}

local CODES = {}
for code, names in pairs(NAMES) do
	for _, name in ipairs(names) do CODES[name] = code end
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

--- The reply for an error.
-- @param name  "ERR_..."
-- @param message  public text; nil, or an internal error: the default text is sent
-- @param headers  further headers, name -> text or number, or nil
-- @return { status, body (JSON), headers (name -> text), code (the name, for the log) }
function M.reply(name, message, headers)
	local code, status = M.wire(name)
	if code == "internal_error" or PRIVATE[name] then message = nil end
	local public = text.cut(text.utf8(message or WIRE[code][2]), MAX_MESSAGE)
	local all = { ["Content-Type"] = "application/json" }
	for header, value in pairs(headers or {}) do all[header] = tostring(value) end
	return {
		status = status, code = name, headers = all,
		body = ('{"code":"%s","message":%s}'):format(code, cjson.encode(public)),
	}
end

return M
