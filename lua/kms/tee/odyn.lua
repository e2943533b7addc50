--- TEE backend `odyn`: the keys are in the Odyn supervisor, which is asked over HTTP on this
-- machine (docs/protocol.md section 13). What it decrypts goes from libcurl's buffers, which are wiped, into guarded
-- memory; Lua sees handles.
--
-- A request of an application costs three calls, two in a row: its answer's signature is asked
-- for at once, beside decrypting; then the answer is encrypted.

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

local START_MS = 15000 -- service and node may be started together
local START_AGAIN_MS = 200
local ENVELOPE_REST = 4096 -- bytes of an answer besides what was asked for
local ESCAPE = 6 -- bytes that JSON needs for one, at the most
local MAX_TX_REST = 8192 -- bytes of a signed transaction in JSON besides its data

-- Its ways to say that something was not made for its key; other statuses say something of the
-- service (a body that is too large for it, too many calls), and nothing of whoever sent it.
local UNDECRYPTABLE = { [400] = true, [403] = true, [422] = true }

function Odyn:random_secret()
	local answer, message, code = self.calls:ask(RANDOM)
	if not answer then return nil, message, code end
	return self.calls:read(RANDOM, native.odyn_random, answer)
end

function Odyn:sign(text)
	local body = ('{"include_attestation":false,"message":%s}'):format(cjson.encode(text))
	local answer, message, code = self.calls:ask(SIGN, body)
	if not answer then return nil, message, code end
	return self.calls:read(SIGN, native.odyn_signature, answer, self.address)
end

function Odyn:sign_transaction(fields)
	local payload = { kind = "structured", access_list = json.list({}) }
	for name, value in pairs(fields) do payload[name] = value end
	local answer, message, code = self.calls:ask(SIGN_TX, json.encode({ payload = payload }),
		4 * #fields.data + MAX_TX_REST)
	if not answer then return nil, message, code end
	return self.calls:read(SIGN_TX, native.odyn_transaction, answer, self.address)
end

function Odyn:attest(nonce, user_data, public_key)
	return odyn_attest.attest(self.calls, nonce, user_data, public_key)
end

function Odyn:open(envelope, _, kind)
	local size = envelope:size()
	local body, message, code = envelope:odyn_request()
	if not body then return nil, message, code end
	local answer, status
	answer, message, code, status = self.calls:ask(DECRYPT, body, ESCAPE * (size // 2) + ENVELOPE_REST)
	if not answer then
		if UNDECRYPTABLE[status] then return nil, "cannot decrypt", "ERR_DECRYPT" end
		return nil, message, code
	end
	return self.calls:read(DECRYPT, native.odyn_plain, answer, kind)
end

function Odyn:seal(plain, peer_point)
	local length = plain:len()
	local body, message, code = native.odyn_seal_request(plain, peer_point)
	if not body then return nil, message, code end
	local answer
	answer, message, code = self.calls:ask(ENCRYPT, body, 2 * length + ENVELOPE_REST)
	if not answer then return nil, message, code end
	return self.calls:read(ENCRYPT, native.odyn_envelope, answer, self.point, length)
end

-- ---- a request of an application ----

local function sign_beside(signing, self, text)
	local ok, signature, message, code = loop.try(self.sign, self, text)
	if not ok then signature, message, code = nil, "signing broke down", "ERR_TEE" end
	signing.signature, signing.message, signing.code, signing.done = signature, message, code, true
	if signing.waiter then signing.waiter:wake() end
end

-- Asks for the signature of the answer and goes on. Who named a wallet without proof
-- (development) sent nothing that an answer could be bound to.
local function begin_signing(self, caller)
	if caller.signature == "" then return nil end
	local signing = {}
	loop.launch(sign_beside, signing, self, ("NovaKMS:Response:%s:%s"):format(caller.signature, self.address))
	return signing
end

local function finish_signing(signing)
	if not signing.done then
		signing.waiter = wakeup.new()
		signing.waiter:wait()
	end
	return signing.signature, signing.message, signing.code
end

function Odyn:open_request(service, head, kind, caller, pop_required)
	local envelope, message, code = native.envelope(head, caller.point)
	if not envelope then return nil, message, code end
	caller.signing = begin_signing(self, caller)
	local plain
	plain, message, code = self:open(envelope, caller.point, "guarded")
	if not plain then return nil, message, code end
	return service:parse(plain, kind, caller.signature, pop_required)
end

-- The envelope of an answer and its signature, asked for both at once unless one is there already.
local function seal_and_sign(self, plain, caller, signing)
	signing = signing or begin_signing(self, caller)
	local sealed, message, code = self:seal(plain, caller.point)
	if not sealed then return nil, message, code end
	local signature
	if signing then
		signature, message, code = finish_signing(signing)
		if not signature then return nil, message, code end
	end
	local body = sealed:slice(1, sealed:len())
	sealed:close()
	return body, signature
end

function Odyn:answer(service, request, caller, wall_ms)
	local signing = caller.signing
	if signing then
		-- Before anything is written: what could not be answered is better not done.
		local signature, message, code = finish_signing(signing)
		if not signature then return nil, message, code end
	end
	local plain, message, code = service:work(request, caller.app_id, caller.signature, wall_ms)
	if not plain then return nil, message, code end
	return seal_and_sign(self, plain, caller, signing)
end

function Odyn:has_channel() -- luacheck: no self
	return true
end

-- ---- start ----

local function read_json(answer)
	local value = cjson.decode(answer:slice(1, answer:len()))
	return type(value) == "table" and value or nil, "no JSON object", "ERR_TEE"
end

local function ask_json(self, call)
	local answer, message, code = self.calls:ask(call)
	if not answer then return nil, message, code end
	return self.calls:read(call, read_json, answer)
end

-- Reads who the service is: address, public key.
local function read_identity(self)
	local told, message = ask_json(self, ADDRESS)
	if not told then return nil, message end
	local address = type(told.address) == "string" and native.address(told.address)
	if not address then return nil, ("Odyn %s: no address"):format(ADDRESS) end
	told, message = ask_json(self, PUBLIC_KEY)
	if not told then return nil, message end
	local der = type(told.public_key_der) == "string" and native.hex_decode(told.public_key_der)
	local point = der and #der == 120 and native.peer_point(der)
	if not point then return nil, ("Odyn %s: no P-384 key in DER"):format(PUBLIC_KEY) end
	self.address, self.public_der, self.point = address, der, point
	return true
end

--- Waits for the service, within bounds. Needs a coroutine.
-- @param deps config (ODYN_URL), log; start_ms, for specs
-- @return backend | nil, message
function M.open(deps)
	local url, start_ms = deps.config.ODYN_URL, deps.start_ms or START_MS
	local calls, message = odyn_calls.new(url, deps.log)
	if not calls then return nil, message end
	local self = setmetatable({ name = "odyn", calls = calls }, Odyn)
	local deadline = native.mono_ms() + start_ms
	repeat
		local known
		known, message = read_identity(self)
		if known then return self end
		loop.sleep(START_AGAIN_MS)
	until native.mono_ms() > deadline
	return nil, ("the TEE service did not answer within %g s, is ODYN_URL right? %s"):format(start_ms / 1000, message)
end

return M
