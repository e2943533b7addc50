--- An application's calls to a node: nonce, proof of possession, sealed bodies, verified responses.
-- Secrets stay in C (include/kms/client.h); this module moves what is encrypted or public. Calls
-- yield the running coroutine.

local fetch = require("kms.http.fetch")
local identity = require("kms.base.identity")
local limits = require("kms.config.limits")
local native = require("kms_native")
local retry_after = require("kms.http.retry_after")
local text = require("kms.base.text")

local M = {}

local MAX_TEXT = 300 -- bytes of a message that comes from the node
local TIMEOUT_MS = 10000
local PAGE_KEYS = 10000 -- asked for at once

local ROUTES = {
	derive = { method = "POST", path = "/kms/derive" },
	put = { method = "PUT", path = "/kms/data" },
	delete = { method = "DELETE", path = "/kms/data" },
	get = { method = "GET", path = "/kms/data?key=" },
	list = { method = "GET", path = "/kms/data" },
}

-- Failures of this machine while it verifies a response. All others mean that the response is not trusted.
local OWN_FAILURES = { ERR_MEMORY = true, ERR_LOCKED_MEMORY = true, ERR_CRYPTO = true }

local Client = {}
Client.__index = Client

local function matching(keys, prefix)
	local list = {}
	for _, key in ipairs(keys) do
		if key:sub(1, #prefix) == prefix then list[#list + 1] = key end
	end
	return list
end

local function percent_encode(name)
	return (name:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function text_member(value, name)
	local member = type(value) == "table" and value[name]
	return type(member) == "string" and member or nil
end

-- An error response as nil, message, code, HTTP status, seconds of Retry-After.
local function refusal(response, value)
	local code = text_member(value, "code") or "error"
	local reason = text_member(value, "reason")
	if reason and reason ~= code then code = code .. " (" .. reason .. ")" end
	local why = text_member(value, "message") or "no reason given"
	local wait_s = retry_after.seconds(response.headers)
	-- The text comes from the network and goes to a terminal.
	local message = text.printable(text.cut(("HTTP %d %s: %s"):format(response.status, code, why), MAX_TEXT))
	if wait_s then message = ("%s (Retry-After: %d s)"):format(message, wait_s) end
	return nil, message, "ERR_REFUSED", response.status, wait_s
end

local function get_json(self, path)
	local response, message, code = fetch.json({
		url = self.url .. path, timeout_ms = self.timeout_ms, connect_timeout_ms = self.timeout_ms,
	})
	if not response then return nil, message, code end
	if response.status ~= 200 then return refusal(response, response.value) end
	if type(response.value) ~= "table" then return nil, path .. " does not give a JSON object", "ERR_ANSWER" end
	return response
end

local function address(options)
	return { url = (options.url:gsub("/+$", "")), timeout_ms = options.timeout_ms or TIMEOUT_MS }
end

--- Reads one of the node's public pages.
-- @param options  url; timeout_ms (10000)
-- @param path  "/status", "/nodes"
-- @return response of kms.http.fetch: the object in `value`, its JSON in `body` | nil, message, code, HTTP
--   status and seconds of Retry-After where the node refused
function M.page(options, path)
	return get_json(address(options), path)
end

-- The node's wallet and teePubkey: those of the options, or else those that /status names.
-- Returns { wallet, pubkey } | nil, message, code, HTTP status, seconds to wait.
local function pin(self, options)
	local pinned = { wallet = options.node_wallet, pubkey = options.node_pubkey }
	if pinned.wallet and pinned.pubkey then return pinned end
	local response, message, code, status, wait_s = get_json(self, "/status")
	if not response then return nil, message, code, status, wait_s end
	local node = type(response.value.node) == "table" and response.value.node or {}
	pinned.wallet, pinned.pubkey = pinned.wallet or node.tee_wallet, pinned.pubkey or node.tee_pubkey
	if type(pinned.wallet) ~= "string" or type(pinned.pubkey) ~= "string" then
		return nil, "/status does not name the node's identity", "ERR_ANSWER"
	end
	return pinned
end

--- A client of one node. Without node_wallet and node_pubkey it trusts the identity that the node's
-- /status names, so the network path must be trusted at that moment.
-- @param options  url; seed: handle; node_wallet, node_pubkey: hex, or nil; timeout_ms of each request (10000);
--   wall_s: function that returns Unix seconds (os.time); require_pop: the node is known to repeat `pop`, so
--   a reply without it is refused (a client also requires it of a node that has repeated it once)
-- @return client | nil, message, code, HTTP status and seconds of Retry-After where the node refused
function M.open(options)
	local keys, message, code = identity.of(options.seed)
	if not keys then return nil, message, code end
	local self = setmetatable(address(options), Client)
	self.wall_s, self.wallet = options.wall_s or os.time, keys.wallet:address()
	local pinned, status, wait_s
	pinned, message, code, status, wait_s = pin(self, options)
	if not pinned then return nil, message, code, status, wait_s end
	self.core, message, code = native.client(keys.wallet, keys.p384, pinned.wallet, pinned.pubkey)
	if not self.core then return nil, "the node's identity: " .. message, code end
	if options.require_pop then self.core:require_pop() end
	return self
end

-- What native's begin returns as one value, its failure as it is.
local function pack(exchange, ...)
	if not exchange then return nil, ... end
	local signature, body = ...
	return { exchange = exchange, signature = signature, body = body }
end

-- What of a request is in its URL.
local function query_of(kind, fields)
	if kind == "get" then return percent_encode(fields.key) end
	if kind ~= "list" then return "" end
	local parts = {}
	for _, name in ipairs({ "prefix", "after", "limit" }) do
		if fields[name] then parts[#parts + 1] = name .. "=" .. percent_encode(tostring(fields[name])) end
	end
	return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

local function send(self, kind, fields, sealed, nonce, now_s)
	local route = ROUTES[kind]
	return fetch.request({
		url = self.url .. route.path .. query_of(kind, fields),
		method = route.method, body = sealed.body, wiped = true, max_bytes = limits.LONGEST_REPLY,
		timeout_ms = self.timeout_ms, connect_timeout_ms = self.timeout_ms,
		headers = {
			["Content-Type"] = sealed.body and "application/json" or nil,
			["X-App-Signature"] = sealed.signature, ["X-App-Nonce"] = nonce,
			["X-App-Timestamp"] = tostring(now_s), ["X-App-Wallet"] = self.wallet,
		},
	})
end

-- Gets a nonce. Returns text | nil, message, code, HTTP status, seconds to wait.
local function get_nonce(self)
	local response, message, code, status, wait_s = get_json(self, "/nonce")
	if not response then return nil, message, code, status, wait_s end
	if type(response.value.nonce) == "string" then return response.value.nonce end
	return nil, "/nonce does not give a nonce", "ERR_ANSWER"
end

--- Calls the node once, with a fresh nonce.
-- @param kind  "derive", "put", "delete", "get" or "list"
-- @param fields  as native.client():begin takes them: derive: path, context, length; put: key, value (text, or
--   the handle that native.value_read gave), ttl_ms; delete and get: key; list: prefix, after, limit (keys of a page;
--   none of the three: all keys), and the result has `next` when more keys follow
-- @return the response's fields that are not secret; `exchange`, a member of theirs, gives out the secret ones by
--   its method write | nil, message, code, HTTP status, seconds of Retry-After: ERR_REFUSED (the node refused),
--   ERR_UNVERIFIED (the
--   response is not provably the node's response to this call)
function Client:call(kind, fields)
	local nonce, message, code, status, wait_s = get_nonce(self)
	if not nonce then return nil, message, code, status, wait_s end
	local sealed, response, result
	local now_s = self.wall_s()
	sealed, message, code = pack(self.core:begin(kind, kind == "list" and {} or fields, nonce, now_s))
	if not sealed then return nil, message, code end
	response, message, code = send(self, kind, fields, sealed, nonce, now_s)
	if not response then return nil, message, code end
	if type(response.body) == "string" then return refusal(response, fetch.decode(response.body)) end
	result, message, code = self.core:finish(
		sealed.exchange, response.headers["x-kms-response-signature"], response.body)
	response.body:close()
	if not result then
		return nil, "the response is not trusted: " .. message, OWN_FAILURES[code] and code or "ERR_UNVERIFIED"
	end
	result.exchange = sealed.exchange
	return result
end

--- Gets all keys, page after page. A node that knows no pages sends all of its keys at once; those without the
-- prefix are dropped here.
-- @param prefix  that the keys start with, or nil
-- @param each  function(keys, exchange) for each page
-- @return true | nil, message, code, HTTP status, seconds of Retry-After, as Client:call
function Client:list(prefix, each)
	local after
	repeat
		local fields = { prefix = prefix, after = after, limit = PAGE_KEYS }
		local result, message, code, status, wait_s = self:call("list", fields)
		if not result then return nil, message, code, status, wait_s end
		each(matching(result.keys, prefix or ""), result.exchange)
		if result.next and after and result.next <= after then
			return nil, "the node's pages do not end", "ERR_UNVERIFIED"
		end
		after = result.next
	until not after
	return true
end

return M
