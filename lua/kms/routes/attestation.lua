--- GET /attestation: proves to anyone what runs here and with which keys (docs/protocol.md section 13).

local attest = require("kms.attest")
local client_address = require("kms.http.client_address")
local err = require("kms.base.err")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")
local rate_queue = require("kms.async.rate_queue")

local M = {}

local Attestation = {}
Attestation.__index = Attestation

local MAX_NONCE = 64 -- bytes
local MAX_ADDRESSES = 65536
-- A document costs signatures, or a call of a security module that takes one at a time. One at a time keeps
-- clients at many addresses from taking the pool from applications: an enclave has two threads.
local QUEUE = { per_second = 20, burst = 40, at_once = 1, max_waiting = 64, wait_ms = 3000, part_to_keep = 1 / 2 }

local HEADERS = { ["Content-Type"] = "application/cbor" } -- Cache-Control: no-store comes with every reply

local HOW = ("use /attestation?nonce=<1 to %d bytes in hexadecimal>"):format(MAX_NONCE)

-- The nonce in a raw query. Returns bytes | nil, message.
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

-- Says what is in force when it is this request's turn, not when it came. Yields.
local function make(self, nonce)
	local tee = self.tee
	return tee:attest(nonce, attest.user_data(tee.address, "public", self.policy:hash(), self.recovery()), tee.public_der)
end

local function handle(self, inbound)
	if not self.tee.address then return err.reply("ERR_TEE") end -- its service has not answered yet
	local ok, wait_s = inbound:within(self.limiter, self.mono_ms())
	if not ok then
		return err.reply("ERR_RATE", "too many attestations for this address", { ["Retry-After"] = wait_s })
	end
	local nonce, wrong = nonce_of(inbound.request.query)
	if not nonce then return err.reply("ERR_BAD_REQUEST", wrong) end
	local queue = self.queue
	local path = inbound.limit_address and client_address.path(inbound.limit_address)
	local admitted, document, message, code = queue:with(path, make, self, nonce)
	if not admitted then
		return err.reply("ERR_BUSY", "too many attestations at once", { ["Retry-After"] = queue:retry_after_s() })
	end
	if not document then return err.reply(code, message) end
	return { status = 200, headers = HEADERS, body = document }
end

--- The route of this module, for kms.policy.route_table.
function Attestation:routes()
	local function handler(inbound) return handle(self, inbound) end
	return { { name = "attestation", method = "GET", path = "/attestation", handler = handler } }
end

--- @param deps tee, policy (its hash goes into documents), mono_ms; recovery (function -> what kms.attest.user_data
-- takes, or nil); config (NONCE_RATE_LIMIT_PER_MINUTE: an
-- address gets as many documents as nonces)
function M.new(deps)
	local self = needs.take(deps, "tee policy mono_ms config recovery")
	self.limiter = rate_limit.per_minute(self.config.NONCE_RATE_LIMIT_PER_MINUTE, MAX_ADDRESSES)
	self.queue = rate_queue.new(QUEUE)
	return setmetatable(self, Attestation)
end

return M
