--- POST /sync: messages of other nodes (docs/protocol.md section 9). Everything that the headers decide comes
-- before the body, and except for a request for the master secret, nothing is done for a message that the sync
-- key did not sign.

local err = require("kms.base.err")
local finally = require("kms.async.finally")
local key_lock = require("kms.async.key_lock")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")
local replies = require("kms.sync.replies")

local M = {}

local Route = {}
Route.__index = Route

local UNSIGNED_BYTES = 65536 -- of a body without a valid X-Sync-Signature: a master_secret_request
local MESSAGES_PER_MINUTE = 60000 -- of a peer
local MAX_PEERS = 4096
local WAITING = 8 -- requests of a peer that wait while one of its requests is served

local TYPES = "delta, digest, snapshot_request, master_secret_request"

local function refuse(code, message, wait_s)
	return nil, message, code, wait_s
end

-- The peer of a wallet, if this node deals with it. Returns peer | nil, message, code, seconds until this node reads
-- the list of members again, on which the wallet is not.
local function known_peer(self, wallet)
	local peer = self.peers:peer(wallet)
	if not peer then
		return refuse("ERR_FORBIDDEN", "not a KMS peer", math.max(1, math.ceil(self.readiness:interval_ms() / 1000)))
	end
	if self.bans:all(wallet, self.mono_ms()) then return refuse("ERR_FORBIDDEN", "ignored for misbehaviour") end
	return peer
end

-- Nonces are checked before signatures, so the wallet is only claimed here.
local function record_bad_nonce(self, request)
	local claimed = native.address(request:header("x-kms-wallet") or "")
	local peer = claimed and self.peers:peer(claimed)
	if peer then self.peers:record(peer, "replayed_nonce", "a nonce that was used before") end
end

-- The peer that signed the headers. Returns peer, signature | nil, message, code, seconds to wait.
local function authenticate(self, inbound)
	local head = inbound.request.head
	local wallet, signature, code = self.service:authenticate(head, "peer", self.wall_ms(), self.mono_ms())
	if not wallet then
		local message = signature
		-- A nonce that this process never issued is what a peer sends after this node's restart.
		if code == "ERR_POP_NONCE_USED" then record_bad_nonce(self, inbound.request) end
		return nil, message, code
	end
	inbound.wallet, inbound.is_member = wallet, self.peers:peer(wallet) ~= nil
	local peer, message, wait_s
	peer, message, code, wait_s = known_peer(self, wallet)
	if not peer then return nil, message, code, wait_s end
	return peer, signature
end

-- Checks again what the headers were checked for, after a wait: the peer, this node's membership or the
-- master secret may have changed meanwhile.
local function still_stands(self, exchange)
	local peer, message, code = known_peer(self, exchange.peer.wallet)
	if not peer then return nil, message, code end
	if not self.readiness:is_verified() then return refuse("ERR_NOT_READY", self.readiness.reason) end
	if self.secrets.current == exchange.secret then return true end
	return refuse("ERR_NOT_READY", "the master secret has just changed")
end

-- One request of a peer, from its headers to the reply. Fields:
--   peer, signature, nonce  of the headers
--   stands()                true | nil, message, code: still_stands, to be called after each wait
--   secret                  the master secret that the body was checked under; set by open
--   authentic               whether X-Sync-Signature is valid under it; set by open
--   slot                    of a snapshot or page (kms.sync.page_slots); set by kms.sync.replies
local function new_exchange(self, request, peer, signature)
	local exchange = { peer = peer, signature = signature, nonce = request:header("x-kms-nonce") }
	function exchange.stands() return still_stands(self, exchange) end
	return exchange
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
		return refuse("ERR_MAC")
	end
	plain, message, code = self.tee:open(envelope, peer.point, "wiped")
	if not plain then return nil, message, code end
	opened, message, code = native.sync_parse(plain)
	if not opened then return nil, message, code end
	return opened
end

-- Checks the members that every message has. Returns true | nil, message, code.
local function check(self, opened, exchange)
	local peer, signature = exchange.peer, exchange.signature
	local pop = opened:text("pop")
	local required = self.require_pop or self.peers:understands(peer, "pop")
	if (pop or required) and pop ~= signature then return refuse("ERR_POP_BINDING") end
	local sender = opened:text("sender_wallet")
	if sender and native.address(sender) ~= peer.wallet then
		-- Only the sync key proves that the peer wrote this: without it, it may be this node's own request, sent
		-- back under the peer's name, since both use one channel key.
		if exchange.authentic then self.peers:report(peer, "identity_mismatch", "sender_wallet is another one") end
		return refuse("ERR_UNAUTHORIZED", "sender_wallet does not match the signature")
	end
	if opened:text("type") ~= "master_secret_request" and not exchange.authentic then return refuse("ERR_MAC") end
	return true
end

-- Returns the reply's inner text | nil, message, code, seconds to wait.
local function execute(self, opened, exchange)
	local ok, message, code = exchange.stands()
	if ok then ok, message, code = check(self, opened, exchange) end
	if not ok then return nil, message, code end
	local kind = opened:text("type")
	if not replies.is_type(kind or "") then return refuse("ERR_FIELD_VALUE", "type: allowed is " .. TYPES) end
	-- A peer with a new store has lost everything that was pushed to it.
	local peer = exchange.peer
	self.peers:alive(peer)
	if self.peers:announced(peer, opened:features(), opened:text("store")) then self.pusher:started_anew(peer) end
	return self.replies:reply(kind, opened, exchange)
end

-- Returns the reply | nil, message, code.
local function seal(self, plain, exchange)
	local body, message, code = self.tee:seal(plain, exchange.peer.point)
	if not body then return nil, message, code end
	local own
	own, message, code = self.tee:sign(("NovaKMS:Response:%s:%s"):format(exchange.signature, self.tee.address))
	if not own then return nil, message, code end
	if exchange.slot then
		body = exchange.slot:hold(body)
		exchange.slot = nil
	end
	return { status = 200, body = body, headers = { ["X-KMS-Peer-Signature"] = own } }
end

local function refusal(self, exchange, message, code, wait_s)
	if code == "ERR_MAC" then self.peers:record(exchange.peer, "bad_hmac", "X-Sync-Signature is not valid") end
	return err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
end

local function serve(self, inbound, exchange)
	local opened, message, code = open(self, inbound, exchange)
	if not opened then return refusal(self, exchange, message, code) end
	local plain, reply, wait_s
	plain, message, code, wait_s = execute(self, opened, exchange)
	if plain then reply, message, code = seal(self, plain, exchange) end
	opened:close()
	return reply or refusal(self, exchange, message, code, wait_s)
end

-- Gives back the slot of a snapshot that is not sent.
local function release_unsent(exchange)
	if exchange.slot then exchange.slot:release() end
end

-- One request of a peer at a time, since each can be large.
local function serve_in_turn(self, inbound, peer, signature)
	local exchange = new_exchange(self, inbound.request, peer, signature)
	local locked, reply = self.lock:with(peer.wallet, finally.call, release_unsent, exchange, nil,
		serve, self, inbound, exchange)
	return locked and reply or err.reply("ERR_BUSY", "too many requests of this peer wait")
end

-- Members push each write at once, at more than the rate of an address. From its first message on, the connection of a
-- member has the member's own limit instead; only a connection that no proxy shares among clients, and only until a
-- message comes that no member signed.
local function admit(self, inbound, peer)
	local request = inbound.request
	if inbound.limit_address == request.remote then request:exempt("sync") end
	return self.limiter:take(peer.wallet:sub(11), self.mono_ms())
end

local function handle(self, inbound)
	if not self.readiness:is_verified() then return err.reply("ERR_NOT_READY", self.readiness.reason) end
	local too_much = inbound:announces_too_much()
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	local peer, signature, code, wait_s = authenticate(self, inbound)
	if not peer then
		local message = signature
		inbound.request:exempt(nil)
		local reply = err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
		return inbound.wallet and self.nonces:add_to(reply) or reply
	end
	local admitted
	admitted, wait_s = admit(self, inbound, peer)
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

--- @param deps service (native), tee, peers, bans, pusher (kms.sync.push), replies (kms.sync.replies), nonces
-- (kms.auth.nonces), readiness (is_verified, interval_ms, reason), secrets (field current), mono_ms, wall_ms,
-- require_pop (REQUIRE_POP)
function M.new(deps)
	local self = needs.take(deps,
		"service tee peers bans pusher replies nonces readiness secrets mono_ms wall_ms require_pop")
	self.lock, self.limiter = key_lock.new(WAITING), rate_limit.per_minute(MESSAGES_PER_MINUTE, MAX_PEERS)
	return setmetatable(self, Route)
end

return M
