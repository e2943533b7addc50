--- One node as an application sees it: its public pages, its identity, and calls of version 1 of the protocol.

local failure = require("kms.client.failure")
local fetch = require("kms.http.fetch")
local limits = require("kms.config.limits")
local native = require("kms_native")
local text = require("kms.base.text")
local uv = require("luv")

local M = {}

local TIMEOUT_MS = 10000

local ROUTES = {
	derive = { method = "POST", path = "/kms/derive" },
	put = { method = "PUT", path = "/kms/data" },
	delete = { method = "DELETE", path = "/kms/data" },
	get = { method = "GET", path = "/kms/data?key=" },
	list = { method = "GET", path = "/kms/data" },
}

--- Failures of this machine while it verifies a response. All others mean that the response is not trusted.
M.OWN_FAILURES = { ERR_MEMORY = true, ERR_LOCKED_MEMORY = true, ERR_CRYPTO = true }

local Node = {}
Node.__index = Node

--- Gets a page that is a JSON object.
-- @return response of kms.http.fetch with the object in `value` | nil, message, code, HTTP status, seconds to wait
function Node:get_json(path)
	local response, message, code = fetch.json({
		url = self.url .. path, timeout_ms = self.timeout_ms, connect_timeout_ms = self.timeout_ms,
	})
	if not response then return nil, message, code end
	if response.status ~= 200 then return failure.refusal(response, response.value) end
	if type(response.value) ~= "table" then return nil, path .. " does not give a JSON object", "ERR_ANSWER" end
	return response
end

--- A node at an address, not called yet.
-- @param options  url; timeout_ms (10000); node_wallet, node_pubkey: hex, or nil
function M.at(options)
	return setmetatable({
		url = options.url:gsub("/+$", ""), timeout_ms = options.timeout_ms or TIMEOUT_MS,
		node_wallet = options.node_wallet, node_pubkey = options.node_pubkey,
	}, Node)
end

-- The node's wallet and teePubkey: those given, or else those that /status names.
-- Returns wallet, pubkey | nil, message, code, HTTP status, seconds to wait.
local function pin(self)
	if self.node_wallet and self.node_pubkey then return self.node_wallet, self.node_pubkey end
	local response, message, code, status, wait_s = self:get_json("/status")
	if not response then return nil, message, code, status, wait_s end
	local named = type(response.value.node) == "table" and response.value.node or {}
	local wallet, pubkey = self.node_wallet or named.tee_wallet, self.node_pubkey or named.tee_pubkey
	if type(wallet) ~= "string" or type(pubkey) ~= "string" then
		return nil, "/status does not name the node's identity", "ERR_ANSWER"
	end
	return wallet, pubkey
end

--- Learns who the node is, once.
-- @param keys of kms.base.identity; @param options  wall_s, require_pop
-- @return true | nil, message, code, HTTP status, seconds to wait
function Node:connect(keys, options)
	if self.core then return true end
	local wallet, pubkey, code, status, wait_s = pin(self)
	if not wallet then return nil, pubkey, code, status, wait_s end
	if self.core then return true end -- another call was first; the node stays who it was
	local core, message
	core, message, code = native.client(keys.wallet, keys.p384, wallet, pubkey)
	if not core then return nil, "the node's identity: " .. message, code end
	if options.require_pop then core:require_pop() end
	self.core, self.caller, self.wall_s = core, keys.wallet:address(), options.wall_s
	self.wallet = "0x" .. wallet:lower():gsub("^0x", "")
	return true
end

--- Unix seconds, and milliseconds.
function Node:now()
	if self.wall_s then return self.wall_s(), self.wall_s() * 1000 end
	local s, us = uv.gettimeofday()
	return s, s * 1000 + us // 1000
end

--- Gets a nonce.
-- @return text | nil, message, code, HTTP status, seconds to wait
function Node:nonce()
	local response, message, code, status, wait_s = self:get_json("/nonce")
	if not response then return nil, message, code, status, wait_s end
	if type(response.value.nonce) == "string" then return response.value.nonce end
	return nil, "/nonce does not give a nonce", "ERR_ANSWER"
end

--- The headers that prove possession of the application's wallet.
function Node:proof(signature, nonce, now_s)
	return {
		["X-App-Signature"] = signature, ["X-App-Nonce"] = nonce, ["X-App-Timestamp"] = tostring(now_s),
		["X-App-Wallet"] = self.caller,
	}
end

-- What native's begin returns as one value, its failure as it is.
local function pack(exchange, ...)
	if not exchange then return nil, ... end
	local signature, body = ...
	return { exchange = exchange, signature = signature, body = body }
end

-- What of a request is in its URL.
local function query_of(kind, fields)
	if kind == "get" then return text.percent_encode(fields.key) end
	if kind ~= "list" then return "" end
	local parts = {}
	for _, name in ipairs({ "prefix", "after", "limit" }) do
		if fields[name] then parts[#parts + 1] = name .. "=" .. text.percent_encode(tostring(fields[name])) end
	end
	return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

local function send(self, kind, fields, sealed, nonce, now_s)
	local route, headers = ROUTES[kind], self:proof(sealed.signature, nonce, now_s)
	headers["Content-Type"] = sealed.body and "application/json" or nil
	return fetch.request({
		url = self.url .. route.path .. query_of(kind, fields), method = route.method, body = sealed.body, once = true,
		wiped = true, max_bytes = limits.LONGEST_REPLY, timeout_ms = self.timeout_ms, connect_timeout_ms = self.timeout_ms,
		headers = headers,
	})
end

--- Calls the node once in version 1, with a fresh nonce.
-- @param kind, fields  as kms.client takes them
-- @return the response's fields that are not secret, and its `exchange` | nil, message, code, HTTP status, seconds of
--   Retry-After, whether the node may have got the request though no response of its own came
function Node:call(kind, fields)
	local nonce, message, code, status, wait_s = self:nonce()
	if not nonce then return nil, message, code, status, wait_s end
	local sealed, response, result, sent
	local now_s = self:now()
	sealed, message, code = pack(self.core:begin(kind, kind == "list" and {} or fields, nonce, now_s))
	if not sealed then return nil, message, code end
	response, message, code, sent = send(self, kind, fields, sealed, nonce, now_s)
	if not response then return nil, message, code, nil, nil, sent end
	if type(response.body) == "string" then return failure.refusal(response, fetch.decode(response.body)) end
	result, message, code = self.core:finish(
		sealed.exchange, response.headers["x-kms-response-signature"], response.body)
	response.body:close()
	if not result then
		code = M.OWN_FAILURES[code] and code or "ERR_UNVERIFIED"
		return nil, "the response is not trusted: " .. message, code, nil, nil, true
	end
	result.exchange = sealed.exchange
	return result
end

return M
