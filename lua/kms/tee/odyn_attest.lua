--- Attestation documents of the backend `odyn`, which the service asks its security module for.

local cjson = require("cjson.safe")
local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

local CALL = "POST /v1/attestation"
local MAX_DOCUMENT = 16384 -- bytes; the security module's answers end at 12 KiB
local LINE = 64

local function pem(der)
	local base64, lines = native.base64_encode(der), { "-----BEGIN PUBLIC KEY-----" }
	for at = 1, #base64, LINE do lines[#lines + 1] = base64:sub(at, at + LINE - 1) end
	lines[#lines + 1] = "-----END PUBLIC KEY-----\n"
	return table.concat(lines, "\n")
end

local function read_document(answer)
	local length = answer:len()
	if length == 0 then return nil, "no document", "ERR_TEE" end
	return answer:slice(1, length)
end

--- Asks for a document. Yields.
-- @param calls  kms.tee.odyn_calls
-- @param nonce  bytes, or nil
-- @param user_data  JSON text of an object, or nil; the service sets its eth_addr to the wallet
-- @param public_key  DER, or nil: the service's own
-- @return document | nil, message, code
function M.attest(calls, nonce, user_data, public_key)
	local object = user_data and cjson.decode(user_data)
	if user_data and type(object) ~= "table" then return nil, "user_data must be a JSON object", "ERR_ARGUMENT" end
	local answer, message, code = calls:ask(CALL, json.encode({
		nonce = nonce and native.base64_encode(nonce), user_data = object, public_key = public_key and pem(public_key),
	}), MAX_DOCUMENT)
	if not answer then return nil, message, code end
	return calls:read(CALL, read_document, answer)
end

return M
