--- A fake of the Odyn service for specs and development networks: its whole HTTP API (docs/protocol.md
-- section 13), with keys from a seed file, so that a restart keeps them. Its attestation
-- documents are those of TEE=sim: they say "simulated", and their root is stored beside the seed.
--
-- Unlike a node it holds plaintext in Lua strings, and every process that reaches its port can use
-- its keys. So it listens on loopback only, and is not installed.

local cjson = require("cjson.safe")
local cidr = require("kms.base.cidr")
local err = require("kms.base.err")
local http = require("kms.http.server")
local identity = require("kms.base.identity")
local json = require("kms.base.json")
local native = require("kms_native")
local sim = require("kms.tee.sim")
local sim_attest = require("kms.tee.sim_attest")
local storage = require("devnet.odyn_storage")

local M = {}

local Fake = {}
Fake.__index = Fake

local MAX_BODY = 640 << 20
local RANDOM_BYTES, NONCE_BYTES, IV_BYTES = 32, 32, 12

-- Limits of its HTTP server, which serves one node.
local LIMITS = {
	MAX_CONNECTIONS = 256, MAX_CONNECTIONS_PER_ADDRESS = 256, MAX_HEADER_BYTES = 16384,
	MAX_BODY_MEMORY_BYTES = 2 * MAX_BODY, FIRST_BYTE_TIMEOUT_SECONDS = 60, HEADER_TIMEOUT_SECONDS = 10,
	BODY_TIMEOUT_SECONDS = 30, IDLE_TIMEOUT_SECONDS = 75, WRITE_TIMEOUT_SECONDS = 30, SHUTDOWN_TIMEOUT_SECONDS = 2,
}

local function refuse(message, status)
	return nil, message, status or 400
end

local function hex(text)
	return type(text) == "string" and native.hex_decode(text) or nil
end

-- The point of a client's key: raw or DER.
local function client_point(body)
	local key = hex(body.client_public_key)
	return key and native.peer_point(key)
end

local function prefixed(bytes)
	return "0x" .. native.hex_encode(bytes)
end

-- The signature of a transaction: the last three items of its RLP (y parity, r, s), without leading zeros.
local function transaction_signature(raw)
	local bytes, at, items = native.hex_decode(raw), 2, {}
	local first = bytes:byte(at)
	at = at + 1 + (first > 0xf7 and first - 0xf7 or 0)
	while at <= #bytes do
		local head = bytes:byte(at)
		local from, length = at + 1, 0
		if head < 0x80 then
			from, length = at, 1
		elseif head <= 0xb7 then
			length = head - 0x80
		elseif head <= 0xbf then
			from = at + 1 + head - 0xb7
			length = string.unpack(">I" .. head - 0xb7, bytes, at + 1)
		end -- an empty access list is a head alone
		items[#items + 1] = bytes:sub(from, from + length - 1)
		at = from + length
	end
	local function padded(item) return ("\0"):rep(32 - #item) .. item end
	local parity = items[#items - 2] == "\1" and "\1" or "\0"
	return prefixed(padded(items[#items - 1]) .. padded(items[#items]) .. parity)
end

local CALLS = {}

CALLS["GET /v1/eth/address"] = function(self)
	return { address = self.wallet:address(), public_key = prefixed(self.public_point) }
end

CALLS["POST /v1/eth/sign"] = function(self, body)
	if type(body.message) ~= "string" or body.message == "" then return refuse("message is missing or empty") end
	local signature = self.wallet:sign(body.message)
	-- The service writes v as 0 or 1 instead of 27 or 28.
	local v = signature:sub(-2) == "1c" and "01" or "00"
	return { signature = signature:sub(1, -3) .. v, address = self.wallet:address(), attestation = cjson.null }
end

CALLS["POST /v1/eth/sign-tx"] = function(self, body)
	local payload = body.payload
	if type(payload) ~= "table" or payload.kind ~= "structured" then return refuse("payload is missing") end
	payload.kind, payload.access_list = nil, nil
	local ok, raw, hash = pcall(native.sign_transaction, self.wallet, payload)
	if not ok or not raw then return refuse("payload is not valid") end
	return {
		raw_transaction = raw, transaction_hash = hash, signature = transaction_signature(raw),
		address = self.wallet:address(),
	}
end

CALLS["GET /v1/random"] = function()
	return { random_bytes = "0x" .. native.random_hex(RANDOM_BYTES) }
end

CALLS["GET /v1/encryption/public_key"] = function(self)
	return { public_key_der = prefixed(self.public_der), public_key_pem = self.public_pem }
end

CALLS["POST /v1/encryption/encrypt"] = function(self, body)
	local point = client_point(body)
	if not point or type(body.plaintext) ~= "string" then return refuse("client_public_key or plaintext is not valid") end
	local nonce = native.hex_decode(native.random_hex(NONCE_BYTES))
	local sealed, message = self.ecdh:seal(point, nonce:sub(1, IV_BYTES), body.plaintext)
	if not sealed then return refuse(message) end
	return { encrypted_data = sealed, enclave_public_key = native.hex_encode(self.public_der), nonce = prefixed(nonce) }
end

CALLS["POST /v1/encryption/decrypt"] = function(self, body)
	local point, nonce = client_point(body), hex(body.nonce)
	if not point or not nonce or #nonce < IV_BYTES or type(body.encrypted_data) ~= "string" then
		return refuse("nonce, client_public_key or encrypted_data is not valid")
	end
	local plain, message = self.ecdh:open(point, nonce:sub(1, IV_BYTES), (body.encrypted_data:gsub("^0[xX]", "")))
	if not plain then return refuse(message) end
	return { plaintext = plain }
end

local function der_of(pem)
	local base64 = type(pem) == "string" and pem:match("^%-%-%-%-%-BEGIN PUBLIC KEY%-%-%-%-%-\n(.*)\n%-%-%-%-%-END")
	return base64 and native.base64_decode((base64:gsub("\n", "")))
end

CALLS["POST /v1/attestation"] = function(self, body)
	local user_data = body.user_data or {}
	local nonce = body.nonce and native.base64_decode(body.nonce)
	local key = body.public_key and der_of(body.public_key) or not body.public_key and self.public_der
	if type(user_data) ~= "table" or not key or (body.nonce and not nonce) then
		return refuse("nonce, public_key or user_data is not valid")
	end
	user_data.eth_addr = self.wallet:address()
	local document, message = self.signer:attest(nonce, json.encode(user_data), key)
	if not document then return refuse(message) end
	return document
end

for call, answer in pairs(storage.CALLS) do
	CALLS[call] = function(self, body) return answer(self.storage, body) end
end

local function read_body(request)
	if not request.has_body then return {} end
	local ok, message, code = request:read_body(MAX_BODY)
	if not ok then return refuse(message, select(2, err.wire(code))) end
	local body = cjson.decode(request.head:body())
	if type(body) ~= "table" then return refuse("the body is not a JSON object") end
	return body
end

-- Replies to a request, as a handler of kms.http.server does.
function Fake:handle(request)
	local call = CALLS[request.method .. " " .. request.path]
	if not call then return 404, nil, '{"error":"no such call"}' end
	local body, message, status = read_body(request)
	local result
	if body then result, message, status = call(self, body) end
	if type(result) == "string" then return 200, { ["Content-Type"] = "application/cbor" }, result end
	if result then return 200, nil, json.encode(result) end
	return status, nil, json.encode({ error = message })
end

local function pem(base64)
	local lines = {}
	for at = 1, #base64, 64 do lines[#lines + 1] = base64:sub(at, at + 63) end
	return "-----BEGIN PUBLIC KEY-----\n" .. table.concat(lines, "\n") .. "\n-----END PUBLIC KEY-----\n"
end

--- Starts a fake service. native.init must have run.
-- @param options  seed: file, created if missing; host: loopback address; port: 0 for any; storage: folder for
--   the objects of its storage, nil: it has none
-- @return fake { wallet, port } | nil, message
function M.start(options)
	if not cidr.is_loopback(options.host) then return nil, options.host .. " is not a loopback address" end
	local seed, message = sim.seed(options.seed)
	if not seed then return nil, message end
	local keys
	keys, message = identity.of(seed)
	if not keys then return nil, message end
	local signer
	signer, message = sim_attest.open(options.seed:match("^(.*)/[^/]*$") or ".", seed)
	if not signer then return nil, message end
	local ecdh = assert(native.odyn_fake(keys.wallet, keys.p384))
	local point, base64 = ecdh:public()
	local self = setmetatable({
		wallet = keys.wallet, ecdh = ecdh, signer = signer, public_point = point,
		public_der = keys.p384:public_der(), public_pem = pem(base64), storage = options.storage,
	}, Fake)
	self.server = http.new({ handler = function(request) return self:handle(request) end, config = LIMITS })
	local ok
	ok, message = self.server:listen(options.host, options.port)
	if not ok then return nil, ("cannot listen on %s:%d: %s"):format(options.host, options.port, message) end
	self.port = self.server:port()
	return self
end

--- Stops the service, then calls done().
function Fake:stop(done)
	self.server:stop(done)
end

return M
