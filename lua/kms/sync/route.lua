--- POST /sync: messages of other nodes in version 1 (docs/protocol.md section 9). Everything that the headers decide
-- comes before the body.

local err = require("kms.base.err")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Route = {}
Route.__index = Route

local UNSIGNED_BYTES = 65536 -- of a body without a valid X-Sync-Signature: a master_secret_request

local function refuse(code, message)
	return nil, message, code
end

-- Reads the body and opens it. Returns message (native.sync_parse) | nil, message, code.
local function open(self, inbound, exchange)
	local peer, request = exchange.peer, inbound.request
	local ok, message, code = request:read_body(inbound.max_body, peer.wallet, true)
	if not ok then return nil, message, code end
	if not request.has_body then return refuse("ERR_ENVELOPE") end
	local envelope, plain, opened
	exchange.secret = self.secrets.current
	envelope, message, code = native.envelope(
		request.head, peer.point, exchange.secret, request:header("x-sync-signature"))
	if not envelope then return nil, message, code end
	exchange.authentic = envelope:authentic()
	if not exchange.authentic and envelope:size() > UNSIGNED_BYTES then
		envelope:close()
		self.peers:record(peer, "bad_hmac", "X-Sync-Signature is not valid")
		return refuse("ERR_MAC")
	end
	plain, message, code = self.tee:open(envelope, peer.point, "wiped")
	if not plain then return nil, message, code end
	opened, message, code = native.sync_parse(plain)
	if not opened then return nil, message, code end
	return opened
end

-- Returns the reply | nil, message, code.
local function seal(self, plain, exchange)
	local body, message, code = self.tee:seal(plain, exchange.peer.point)
	if not body then return nil, message, code end
	local own
	own, message, code = self.tee:sign(("NovaKMS:Response:%s:%s"):format(exchange.proof.pop, self.tee.address))
	if not own then return nil, message, code end
	return { status = 200, body = self.serving:sent(body, exchange), headers = { ["X-KMS-Peer-Signature"] = own } }
end

local function refusal(message, code, wait_s)
	return err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
end

local function serve(self, inbound, exchange)
	local opened, message, code = open(self, inbound, exchange)
	if not opened then return refusal(message, code) end
	local plain, reply, wait_s
	plain, message, code, wait_s = self.serving:execute(opened, exchange)
	if plain then reply, message, code = seal(self, plain, exchange) end
	opened:close()
	return reply or refusal(message, code, wait_s)
end

local function serve_in_turn(self, inbound, peer, signature)
	local exchange = self.serving:exchange({
		peer = peer, proof = { pop = signature }, nonce = inbound.request:header("x-kms-nonce"), is_sealed = false,
	})
	local locked, reply = self.serving:in_turn(exchange, serve, self, inbound, exchange)
	return locked and reply or err.reply("ERR_BUSY", "too many requests of this peer wait")
end

local function handle(self, inbound)
	if not self.readiness:is_verified() then return err.reply("ERR_NOT_READY", self.readiness.reason) end
	local too_much = inbound:announces_too_much()
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	local peer, signature, code, wait_s = self.callers:authenticate(inbound, "peer")
	if not peer then
		local message = signature
		inbound.request:exempt(nil)
		local reply = refusal(message, code, wait_s)
		return inbound.wallet and self.nonces:add_to(reply) or reply
	end
	local admitted
	admitted, wait_s = self.callers:admit(inbound, peer, "sync")
	if not admitted then
		return self.nonces:add_to(err.reply("ERR_RATE", "too many messages of this peer", { ["Retry-After"] = wait_s }))
	end
	return self.nonces:add_to(serve_in_turn(self, inbound, peer, signature))
end

--- The route of this module, for kms.policy.route_table.
function Route:routes()
	local function handler(inbound) return handle(self, inbound) end
	return { { name = "sync", method = "POST", path = "/sync", handler = handler } }
end

--- @param deps tee, peers, callers (kms.sync.callers), serving (kms.sync.serving), nonces (kms.auth.nonces), readiness
-- (is_verified, reason), secrets (field current)
function M.new(deps)
	return setmetatable(needs.take(deps, "tee peers callers serving nonces readiness secrets"), Route)
end

return M
