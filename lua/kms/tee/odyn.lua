--- TEE backend `odyn`: the Odyn supervisor holds the keys; it is called over HTTP on this machine (docs/protocol.md
-- section 13). What it decrypts goes from libcurl's buffers, which are wiped, into guarded memory; Lua sees handles.
--
-- A request of an application takes three calls: one decrypts its body while another signs its reply, then one
-- encrypts the reply.

local cjson = require("cjson.safe")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local native = require("kms_native")
local odyn_attest = require("kms.tee.odyn_attest")
local odyn_calls = require("kms.tee.odyn_calls")
local wakeup = require("kms.async.wakeup")

local M = {}

local Odyn = {}
Odyn.__index = Odyn

local SIGN, SIGN_TX = "POST /v1/eth/sign", "POST /v1/eth/sign-tx"
local ENCRYPT, DECRYPT = "POST /v1/encryption/encrypt", "POST /v1/encryption/decrypt"
local RANDOM = "GET /v1/random"
local ADDRESS, PUBLIC_KEY = "GET /v1/eth/address", "GET /v1/encryption/public_key"

local ENVELOPE_REST = 4096 -- bytes of a response besides the envelope or plaintext
local BODY_TEXT_BYTES = 65536 -- replies above this stay in C: they are sent slice by slice
local ESCAPE = 6 -- most bytes that JSON needs for one byte of text
local MAX_TX_REST = 8192 -- bytes of a signed transaction in JSON besides its data

-- Statuses for an envelope that was not made for the service's key. Other statuses concern the service itself (a body
-- too large for it, too many calls), not the sender of the envelope.
local UNDECRYPTABLE = { [400] = true, [403] = true, [422] = true }

function Odyn:random_secret()
	local response, message, code = self.calls:call(RANDOM)
	if not response then return nil, message, code end
	return self.calls:read(RANDOM, native.odyn_random, response)
end

function Odyn:sign(text)
	local body = ('{"include_attestation":false,"message":%s}'):format(cjson.encode(text))
	local response, message, code = self.calls:call(SIGN, body)
	if not response then return nil, message, code end
	return self.calls:read(SIGN, native.odyn_signature, response, self.address)
end

function Odyn:sign_transaction(fields)
	local payload = { kind = "structured", access_list = json.list({}) }
	for name, value in pairs(fields) do payload[name] = value end
	local response, message, code = self.calls:call(SIGN_TX, json.encode({ payload = payload }),
		4 * #fields.data + MAX_TX_REST)
	if not response then return nil, message, code end
	return self.calls:read(SIGN_TX, native.odyn_transaction, response, self.address)
end

function Odyn:attest(nonce, user_data, public_key)
	return odyn_attest.attest(self.calls, nonce, user_data, public_key)
end

function Odyn:open(envelope, _, kind)
	local size = envelope:size()
	local body, message, code = envelope:odyn_request()
	if not body then return nil, message, code end
	local response, status
	response, message, code, status = self.calls:call(DECRYPT, body, ESCAPE * (size // 2) + ENVELOPE_REST)
	if not response then
		if UNDECRYPTABLE[status] then return nil, "cannot decrypt", "ERR_DECRYPT" end
		return nil, message, code
	end
	return self.calls:read(DECRYPT, native.odyn_plain, response, kind)
end

function Odyn:seal(plain, peer_point)
	local length = plain:len()
	local body, message, code = native.odyn_seal_request(plain, peer_point)
	if not body then return nil, message, code end
	local response
	response, message, code = self.calls:call(ENCRYPT, body, 2 * length + ENVELOPE_REST)
	if not response then return nil, message, code end
	return self.calls:read(ENCRYPT, native.odyn_envelope, response, self.point, length)
end

-- ---- a request of an application ----

-- A signing { done, signature, message, code, waiter } is a signature that is made in another coroutine.
local function sign_beside(signing, self, text)
	local ok, signature, message, code = loop.try(self.sign, self, text)
	if not ok then signature, message, code = nil, "signing threw an error", "ERR_TEE" end
	signing.signature, signing.message, signing.code, signing.done = signature, message, code, true
	if signing.waiter then signing.waiter:wake() end
end

-- Begins to sign the reply, without waiting. Returns a signing, or nil for a development wallet: it signed nothing
-- that a reply could be bound to.
local function begin_signing(self, caller)
	if caller.signature == "" then return nil end
	local signing = {}
	loop.launch(sign_beside, signing, self, ("NovaKMS:Response:%s:%s"):format(caller.signature, self.address))
	return signing
end

-- Waits for a signing. Returns signature | nil, message, code.
local function finish_signing(signing)
	if not signing.done then
		signing.waiter = wakeup.new()
		signing.waiter:wait()
	end
	return signing.signature, signing.message, signing.code
end

function Odyn:open_request(service, head, operation, caller, pop_required)
	local envelope, message, code = native.envelope(head, caller.point)
	if not envelope then return nil, message, code end
	caller.signing = begin_signing(self, caller)
	local plain
	plain, message, code = self:open(envelope, caller.point, "guarded")
	if not plain then return nil, message, code end
	return service:parse(plain, operation, caller.signature, pop_required)
end

-- Encrypts the reply, and signs it unless that was begun. Returns body, signature | nil, message, code.
local function seal_and_sign(self, plain, caller, signing)
	signing = signing or begin_signing(self, caller)
	local sealed, message, code = self:seal(plain, caller.point)
	if not sealed then return nil, message, code end
	local signature
	if signing then
		signature, message, code = finish_signing(signing)
		if not signature then return nil, message, code end
	end
	local length = sealed:len()
	if length > BODY_TEXT_BYTES then return sealed, signature end
	local body = sealed:slice(1, length)
	sealed:close()
	return body, signature
end

function Odyn:execute(service, request, caller, wall_ms, written)
	local signing = caller.signing
	if signing then
		-- Before anything is written: a write whose reply cannot be signed is not made.
		local signature, message, code = finish_signing(signing)
		if not signature then return nil, message, code end
	end
	local plain, message, code = service:execute(request, caller.app_id, caller.signature, wall_ms)
	if not plain then return nil, message, code end
	local ok = true
	if written then ok, message, code = written(plain) end
	if ok then return seal_and_sign(self, plain, caller, signing) end
	plain:close()
	return nil, message, code
end

function Odyn:has_channel() -- luacheck: no self
	return true
end

-- ---- start ----

local function read_json(response)
	local value = cjson.decode(response:slice(1, response:len()))
	if type(value) ~= "table" then return nil, "no JSON object", "ERR_TEE" end
	return value
end

-- Returns the response's JSON object | nil, message, code.
local function call_json(self, call)
	local response, message, code = self.calls:call(call)
	if not response then return nil, message, code end
	return self.calls:read(call, read_json, response)
end

--- Asks the service for its address and public key, once. Yields.
-- @return true | nil, message
function Odyn:identify()
	local object, message = call_json(self, ADDRESS)
	if not object then return nil, message end
	local address = type(object.address) == "string" and native.address(object.address)
	if not address then return nil, ("Odyn %s: no address"):format(ADDRESS) end
	object, message = call_json(self, PUBLIC_KEY)
	if not object then return nil, message end
	local der = type(object.public_key_der) == "string" and native.hex_decode(object.public_key_der)
	local point = der and #der == 120 and native.peer_point(der)
	if not point then return nil, ("Odyn %s: no P-384 key in DER"):format(PUBLIC_KEY) end
	self.address, self.public_der, self.point = address, der, point
	return true
end

--- Opens the backend. It calls nobody: the service may start later.
-- @param deps config (ODYN_URL), log
-- @return backend without an identity | nil, message: ODYN_URL cannot be called
function M.open(deps)
	local calls, message = odyn_calls.new(deps.config.ODYN_URL, deps.log)
	if not calls then return nil, message end
	return setmetatable({ name = "odyn", calls = calls }, Odyn)
end

return M
