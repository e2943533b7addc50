--- An application's calls to a node: nonce, proof of possession, sealed bodies, verified
-- answers. Secrets pass through C only (include/kms/client.h); this module moves what is
-- encrypted or public. Calls yield the running coroutine.

local fetch = require("kms.http.fetch")
local native = require("kms_native")
local text = require("kms.base.text")

local M = {}

local MAX_ANSWER = 64 << 20 -- bytes of a sealed answer, a list of many keys most of all
local MAX_TEXT = 300 -- of a message that somebody else wrote

local ROUTES = {
	derive = { method = "POST", path = "/kms/derive" },
	put = { method = "PUT", path = "/kms/data" },
	delete = { method = "DELETE", path = "/kms/data" },
	get = { method = "GET", path = "/kms/data?key=" },
	list = { method = "GET", path = "/kms/data" },
}

-- Failures to verify an answer that are no lack of memory here.
local UNTRUSTED = setmetatable({
	ERR_MEMORY = false, ERR_LOCKED_MEMORY = false, ERR_CRYPTO = false,
}, { __index = function() return "ERR_UNVERIFIED" end })

local Client = {}
Client.__index = Client

local function percent_encode(name)
	return (name:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- Turns a refusal of the node into nil, message, code, status.
local function refusal(status, value)
	local code = type(value) == "table" and type(value.code) == "string" and value.code or "error"
	local why = type(value) == "table" and type(value.message) == "string" and value.message or "no reason given"
	-- It goes to a terminal and comes from whoever answered.
	local message = text.printable(text.cut(("HTTP %d %s: %s"):format(status, code, why), MAX_TEXT))
	return nil, message, "ERR_REFUSED", status
end

local function get_json(self, path)
	local value, response, code = fetch.json({
		url = self.url .. path, timeout_ms = self.timeout_ms, connect_timeout_ms = self.timeout_ms,
	})
	if value == nil then return nil, response, code end
	if response.status ~= 200 then return refusal(response.status, value) end
	if type(value) ~= "table" then return nil, path .. " does not give a JSON object", "ERR_ANSWER" end
	return value, response.body
end

--- The node's public pages.
-- @param options  url; timeout_ms (10000)
-- @param path  "/status", "/nodes"
-- @return decoded object, its JSON as received | nil, message, code, HTTP status of a refusal
function M.page(options, path)
	local node = { url = (options.url:gsub("/+$", "")), timeout_ms = options.timeout_ms or 10000 }
	return get_json(node, path)
end

-- Wallet and teePubkey as the node tells them itself, where they are not given.
local function pin(self, options)
	if options.node_wallet and options.node_pubkey then return options.node_wallet, options.node_pubkey end
	local page, message, code, status = get_json(self, "/status")
	if not page then return nil, message, code, status end
	local node = type(page.node) == "table" and page.node or {}
	local wallet = options.node_wallet or node.tee_wallet
	local pubkey = options.node_pubkey or node.tee_pubkey
	if type(wallet) ~= "string" or type(pubkey) ~= "string" then
		return nil, "/status does not name the node's identity", "ERR_ANSWER"
	end
	return wallet, pubkey
end

--- A client of one node. Without node_wallet and node_pubkey it believes what the node's
-- /status says of itself, so the way there must be trusted the first time.
-- @param options  url; seed (handle); node_wallet, node_pubkey (hex); timeout_ms (10000, of each
--   request); wall_s (function: Unix seconds)
-- @return client | nil, message, code, HTTP status of a refusal
function M.open(options)
	local wallet, p384, failure = native.identity(options.seed)
	if not wallet then return nil, p384, failure end
	local self = setmetatable({
		url = (options.url:gsub("/+$", "")), timeout_ms = options.timeout_ms or 10000,
		wall_s = options.wall_s or os.time, wallet = wallet:address(),
	}, Client)
	local node_wallet, node_pubkey, code, status = pin(self, options)
	if not node_wallet then return nil, node_pubkey, code, status end
	local message
	self.core, message, code = native.client(wallet, p384, node_wallet, node_pubkey)
	if not self.core then return nil, "the node's identity: " .. message, code end
	return self
end

local function send(self, kind, fields, nonce)
	local route, now_s = ROUTES[kind], self.wall_s()
	local exchange, signature, body = self.core:begin(kind, fields, nonce, now_s)
	if not exchange then return nil, signature, body end
	local response, message, code = fetch.request({
		url = self.url .. route.path .. (kind == "get" and percent_encode(fields.key) or ""),
		method = route.method, body = body, wiped = true, max_bytes = MAX_ANSWER,
		timeout_ms = self.timeout_ms, connect_timeout_ms = self.timeout_ms,
		headers = {
			["Content-Type"] = body and "application/json" or nil,
			["X-App-Signature"] = signature, ["X-App-Nonce"] = nonce,
			["X-App-Timestamp"] = tostring(now_s), ["X-App-Wallet"] = self.wallet,
		},
	})
	if not response then return nil, message, code end
	return response, exchange
end

--- One exchange, with a fresh nonce.
-- @param kind  "derive", "put", "delete", "get" or "list"
-- @param fields  as native.client():begin takes them: derive: path, context, length; put: key,
--   value (string, or what native.value_read gave), ttl_ms; delete and get: key; list: {}
-- @return fields of the answer that are no secret, exchange (its write method gives out the
--   rest) | nil, message, code, HTTP status where the node refused (code ERR_REFUSED);
--   ERR_UNVERIFIED: there is an answer, but not one that the node provably gave to this call
function Client:call(kind, fields)
	local page, message, code, status = get_json(self, "/nonce")
	if not page then return nil, message, code, status end
	if type(page.nonce) ~= "string" then return nil, "/nonce does not give a nonce", "ERR_ANSWER" end
	local response, exchange
	response, exchange, code = send(self, kind, fields, page.nonce)
	if not response then return nil, exchange, code end
	if type(response.body) == "string" then return refusal(response.status, fetch.decode(response.body)) end
	local answer
	answer, message, code = self.core:finish(exchange, response.headers["x-kms-response-signature"], response.body)
	response.body:close()
	if not answer then return nil, "the answer is not to be trusted: " .. message, UNTRUSTED[code] or code end
	return answer, exchange
end

return M
