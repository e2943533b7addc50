--- GET /attestation: proof, for anybody, of what runs here and under which keys (docs/protocol.md section 13).

local attest = require("kms.attest")
local err = require("kms.base.err")
local native = require("kms_native")
local rate_queue = require("kms.async.rate_queue")

local M = {}

local MAX_NONCE = 64 -- bytes
-- Each takes signatures, or a call of a security module that takes one at a time: whoever asks
-- from many addresses must not keep the pool from applications. An enclave has two threads, and a
-- second call would only hold one to wait for the first.
local QUEUE = { per_second = 20, burst = 40, at_once = 1, max_waiting = 64, wait_ms = 3000 }

local HEADERS = { ["Content-Type"] = "application/cbor" } -- no answer of this server may be stored

local HOW = ("use /attestation?nonce=<1 to %d bytes in hexadecimal>"):format(MAX_NONCE)

--- The nonce in a raw query.
-- @return bytes | nil, message
local function nonce_of(query)
	local text
	for part in ((query or "") .. "&"):gmatch("([^&]*)&") do
		local value = part:match("^nonce=(.*)$")
		if value and text then return nil, "nonce is given twice: " .. HOW end
		text = text or value
	end
	if not text or text == "" then return nil, "a nonce is missing: " .. HOW end
	if #text > 2 * MAX_NONCE + 2 then return nil, "the nonce is too long: " .. HOW end
	local bytes = native.hex_decode(text)
	if not bytes or bytes == "" then return nil, "the nonce is not hexadecimal: " .. HOW end
	if #bytes > MAX_NONCE then return nil, "the nonce is too long: " .. HOW end
	return bytes
end

local function attestation(node, request)
	local ok, wait_s = node:within_address_limit(node.attestation_limiter, request, node.mono_ms())
	if not ok then
		return err.reply("ERR_RATE", "too many attestations for this address", { ["Retry-After"] = wait_s })
	end
	local nonce, wrong = nonce_of(request.query)
	if not nonce then return err.reply("ERR_BAD_REQUEST", wrong) end
	local queue, user_data = node.attestation_queue, attest.user_data(node.tee.address, "public", node.policy:hash())
	local admitted, document, message, code = queue:with(
		node.tee.attest, node.tee, nonce, user_data, node.tee.public_der)
	if not admitted then
		return err.reply("ERR_BUSY", "too many attestations at once", { ["Retry-After"] = queue:retry_after_s() })
	end
	if not document then return err.reply(code, message) end
	return { status = 200, headers = HEADERS, body = document }
end

--- The route of this module.
function M.routes()
	return { { name = "attestation", method = "GET", path = "/attestation", handler = attestation } }
end

--- What it needs of a node: limits. By address, as many as nonces.
function M.setup(node)
	local per_minute = node.config.NONCE_RATE_LIMIT_PER_MINUTE
	node.attestation_limiter = per_minute > 0 and assert(native.limiter(per_minute, per_minute, 65536)) or nil
	node.attestation_queue = rate_queue.new(QUEUE)
end

return M
