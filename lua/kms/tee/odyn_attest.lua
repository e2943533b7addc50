--- Attestation documents of the backend `odyn`, which the Odyn service makes.

local cjson = require("cjson.safe")
local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

local CALL = "POST /v1/attestation"
local MAX_DOCUMENT = 16384 -- bytes; security modules give at most 12 KiB
local LINE = 64 -- characters

local function pem(der)
	local base64, lines = native.base64_encode(der), { "-----BEGIN PUBLIC KEY-----" }
	for at = 1, #base64, LINE do lines[#lines + 1] = base64:sub(at, at + LINE - 1) end
	lines[#lines + 1] = "-----END PUBLIC KEY-----\n"
	return table.concat(lines, "\n")
end

local function read_document(response)
	local length = response:len()
	if length == 0 then return nil, "no document", "ERR_TEE" end
	return response:slice(1, length)
end

--- Makes a document. Yields.
-- @param calls  kms.tee.odyn_calls
-- @param nonce  bytes, or nil
-- @param user_data  JSON text of an object, or nil; the service sets its member eth_addr to the wallet
-- @param public_key  DER, or nil: the service's own key
-- @return document | nil, message, code
function M.attest(calls, nonce, user_data, public_key)
	local object = user_data and cjson.decode(user_data)
	if user_data and type(object) ~= "table" then return nil, "user_data must be a JSON object", "ERR_ARGUMENT" end
	local response, message, code = calls:call(CALL, json.encode({
		nonce = nonce and native.base64_encode(nonce), user_data = object, public_key = public_key and pem(public_key),
	}), MAX_DOCUMENT)
	if not response then return nil, message, code end
	return calls:read(CALL, read_document, response)
end

return M
