--- POST /sync: what other nodes send and ask (docs/protocol.md section 9). Everything that headers
-- decide comes before the body, and nothing is opened that the sync key does not bear out.

local answers = require("kms.sync.replies")
local err = require("kms.base.err")
local finally = require("kms.async.finally")
local key_lock = require("kms.async.key_lock")
local key_slots = require("kms.async.key_slots")
local native = require("kms_native")
local routes_reply = require("kms.routes.reply")

local M = {}

local UNSIGNED_BYTES = 65536 -- of a body without a valid X-Sync-Signature: a master_secret_request
local WAITING = 8 -- requests of a peer behind the one that is carried out
local SNAPSHOTS_AT_ONCE = 2 -- each can be MAX_SNAPSHOT_BYTES, beside the bodies in flight
local SECRETS_PER_MINUTE = 6 -- a peer

local TYPES = "delta, snapshot_request, master_secret_request"

local function refuse(code, message)
	return nil, message, code
end

-- Whether a wallet is one to deal with. Returns peer | nil, message, code.
local function known_peer(node, wallet)
	local peer = node.peers:peer(wallet)
	if not peer then return refuse("ERR_FORBIDDEN", "not a KMS peer") end
	if node.bans:all(wallet, node.mono_ms()) then return refuse("ERR_FORBIDDEN", "ignored for misbehaviour") end
	return peer
end

-- Whoever it is: a nonce that does not count comes before the signature.
local function note_nonce(node, request)
	local named = native.address(request:header("x-kms-wallet") or "")
	local peer = named and node.peers:peer(named)
	if peer then node.peers:record(peer, "replayed_nonce", "a nonce that was used, or none of ours") end
end

-- The peer that signed the headers. Returns peer, signature | nil, message, code.
local function authenticate(node, request)
	local wallet, signature, code = node.service:authenticate(request.head, "peer", node.wall_ms(), node.mono_ms())
	if not wallet then
		if code == "ERR_POP_NONCE" then note_nonce(node, request) end
		return nil, signature, code
	end
	request.wallet = wallet
	local peer, message
	peer, message, code = known_peer(node, wallet)
	if not peer then return nil, message, code end
	return peer, signature
end

-- What the headers were checked for, once more: a body takes as long as its sender likes, and
-- this node, the peer or the secret that the body was checked under may be another one meanwhile.
local function still_stands(node, exchange)
	local peer, message, code = known_peer(node, exchange.peer.wallet)
	if not peer then return nil, message, code end
	if not node.readiness:is_verified() then return refuse("ERR_NOT_READY", node.readiness.reason) end
	return node.secrets.current == exchange.secret or refuse("ERR_NOT_READY", "the master secret has just changed")
end

-- The opened message of a body, and whether the sync key bears it out.
local function open(node, request, exchange)
	local peer = exchange.peer
	local ok, _, code, message = request:read_body(request.max_body)
	if not ok then return nil, message, code end
	if not request.has_body then return refuse("ERR_ENVELOPE") end
	local envelope, plain, opened
	exchange.secret = node.secrets.current
	envelope, message, code = native.envelope(
		request.head, peer.point, exchange.secret, request:header("x-sync-signature"))
	if not envelope then return nil, message, code end
	local authentic = envelope:authentic()
	if not authentic and envelope:size() > UNSIGNED_BYTES then
		envelope:close()
		return refuse("ERR_MAC")
	end
	plain, message, code = node.tee:open(envelope, peer.point, "wiped")
	if not plain then return nil, message, code end
	opened, message, code = native.sync_parse(plain)
	if not opened then return nil, message, code end
	return opened, authentic
end

-- What the inner members must say, whatever is asked.
local function check(node, opened, authentic, exchange)
	local peer, signature = exchange.peer, exchange.signature
	local pop = opened:text("pop")
	if (pop or node.peers:understands(peer, "pop")) and pop ~= signature then return refuse("ERR_POP_BINDING") end
	local sender = opened:text("sender_wallet")
	if sender and native.address(sender) ~= peer.wallet then
		-- Without the sync key it may be this node's own request, sent back under the peer's name: both
		-- have one channel key.
		if authentic then node.peers:report(peer, "identity_mismatch", "sender_wallet is another one") end
		return refuse("ERR_UNAUTHORIZED", "sender_wallet does not match the signature")
	end
	if opened:text("type") ~= "master_secret_request" and not authentic then return refuse("ERR_MAC") end
	return true
end

-- The body of a snapshot. It holds the snapshot's slot until it is closed.
local function holding(exchange, body)
	local release = exchange.release_snapshot
	exchange.release_snapshot = nil
	return {
		len = function() return body:len() end,
		slice = function(_, from, count) return body:slice(from, count) end,
		close = function()
			body:close()
			release()
		end,
	}
end

local function carry_out(node, opened, authentic, exchange)
	local ok, message, code = still_stands(node, exchange)
	if ok then ok, message, code = check(node, opened, authentic, exchange) end
	if not ok then return nil, message, code end
	local kind = opened:text("type") or ""
	local answer = answers[kind]
	if not answer then return refuse("ERR_FIELD_VALUE", "type: allowed is " .. TYPES) end
	node.sync_counts[kind] = node.sync_counts[kind] + 1
	-- It lives, and says what it is; a new life of its store has nothing of what was pushed to the old.
	local peer = exchange.peer
	node.peers:reached(peer)
	if node.peers:announced(peer, opened:features(), opened:text("store")) then node.pusher:started_anew(peer) end
	return answer(node, opened, exchange)
end

local function seal(node, plain, exchange)
	local body, message, code = node.tee:seal(plain, exchange.peer.point)
	if not body then return nil, message, code end
	local own
	own, message, code = node.tee:sign(("NovaKMS:Response:%s:%s"):format(exchange.signature, node.tee.address))
	if not own then return nil, message, code end
	if exchange.release_snapshot then body = holding(exchange, body) end
	return { status = 200, body = body, headers = { ["X-KMS-Peer-Signature"] = own } }
end

local function refused(node, exchange, message, code)
	if code == "ERR_MAC" then node.peers:record(exchange.peer, "bad_hmac", "X-Sync-Signature is not valid") end
	return err.reply(code, message, exchange.wait_s and { ["Retry-After"] = exchange.wait_s })
end

local function answer(node, request, exchange)
	local opened, authentic, code = open(node, request, exchange)
	if not opened then return refused(node, exchange, authentic, code) end
	local plain, message
	plain, message, code = carry_out(node, opened, authentic, exchange)
	local reply
	if plain then reply, message, code = seal(node, plain, exchange) end
	opened:close()
	return reply or refused(node, exchange, message, code)
end

-- Gives the slot of a snapshot back that is not sent.
local function release_unsent(exchange)
	if exchange.release_snapshot then exchange.release_snapshot() end
end

-- One request of a peer at a time: each can be large.
local function in_turn(node, request, peer, signature)
	local exchange = { peer = peer, signature = signature, nonce = request:header("x-kms-nonce") }
	exchange.stands = function() return still_stands(node, exchange) end
	local locked, reply = node.sync_lock:with(peer.wallet, finally.call, release_unsent, exchange, nil,
		answer, node, request, exchange)
	return locked and reply or err.reply("ERR_BUSY", "too many requests of this peer wait")
end

local function handler(node, request)
	if not node.readiness:is_verified() then return err.reply("ERR_NOT_READY", node.readiness.reason) end
	if routes_reply.announces_more(request, request.max_body) then return err.reply("ERR_TOO_LARGE") end
	local peer, signature, code = authenticate(node, request)
	if not peer then
		local reply = err.reply(code, signature)
		return request.wallet and routes_reply.with_nonce(node, reply) or reply
	end
	return routes_reply.with_nonce(node, in_turn(node, request, peer, signature))
end

--- The routes of this module.
function M.routes()
	return { { name = "sync", method = "POST", path = "/sync", handler = handler } }
end

--- What the handlers keep on the node.
function M.setup(node)
	node.sync_lock = key_lock.new(WAITING)
	-- Since the start: messages by type, and what became of their records.
	node.sync_counts = { delta = 0, snapshot_request = 0, master_secret_request = 0, records = {} }
	node.snapshots = key_slots.new(SNAPSHOTS_AT_ONCE)
	node.secret_limiter = assert(native.limiter(SECRETS_PER_MINUTE, SECRETS_PER_MINUTE, 4096))
end

return M
