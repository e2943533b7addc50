--- POST /sync: what other nodes send and ask (wire-protocol section 9). Everything that headers
-- decide comes before the body, and nothing is opened that the sync key does not bear out.

local err = require("kms.err")
local native = require("kms_native")
local routes_reply = require("kms.routes.reply")
local turns = require("kms.turns")

local M = {}

local UNSIGNED_BYTES = 16384 -- of a body without a valid X-Sync-Signature: a master_secret_request
local WAITING = 8 -- requests of a peer behind the one that is carried out
local SNAPSHOTS_AT_ONCE = 4
local SECRETS_PER_MINUTE = 6 -- a peer

local TYPES = "delta, snapshot_request, master_secret_request"

local function refuse(code, message)
	return nil, message, code
end

-- The peer that signed the headers. Returns peer, signature | nil, message, code.
local function authenticate(node, request)
	local wallet, signature, code = node.service:authenticate(request.head, "peer", node.wall_ms(), node.mono_ms())
	if not wallet then return nil, signature, code end
	request.wallet = wallet
	local peer = node.peers:peer(wallet)
	if not peer then return refuse("ERR_FORBIDDEN", "not a KMS peer") end
	if node.peers.blacklist:all(wallet, node.mono_ms()) then return refuse("ERR_FORBIDDEN", "ignored for misbehaviour") end
	return peer, signature
end

-- The opened message of a body, and whether the sync key bears it out.
local function open(node, request, peer)
	local ok, _, code, message = request:read_body(node.config.MAX_SYNC_PAYLOAD_BYTES)
	if not ok then return nil, message, code end
	if not request.has_body then return refuse("ERR_ENVELOPE") end
	local envelope, plain, opened
	envelope, message, code = native.envelope(
		request.head, peer.point, node.secrets.current, request:header("x-sync-signature"))
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
local function check(node, opened, authentic, peer, signature)
	local sender = opened:text("sender_wallet")
	if sender and native.address(sender) ~= peer.wallet then
		node.peers:event(peer, "identity_mismatch", "sender_wallet is another one")
		return refuse("ERR_UNAUTHORIZED", "sender_wallet does not match the signature")
	end
	local pop = opened:text("pop")
	if (pop or node.peers:understands(peer, "pop")) and pop ~= signature then return refuse("ERR_POP_BINDING") end
	if opened:text("type") ~= "master_secret_request" and not authentic then return refuse("ERR_MAC") end
	return true
end

-- The three requests: each gives the inner answer (kms.body) | nil, message, code. A snapshot is twice
-- as long as an envelope, in hexadecimal.
local ANSWERS = {}

function ANSWERS.delta(node, opened, peer, signature)
	local counts, message, code = opened:apply(node.store, node.secrets.current, peer.number, node.wall_ms())
	if not counts then return nil, message, code end
	if counts.poisoned > 0 then
		node.peers:event(peer, "poisoned_records", ("%d records that do not decrypt"):format(counts.poisoned))
	end
	return native.text_body(node.writer:delta_answer(signature, counts))
end

function ANSWERS.snapshot_request(node, opened, _, signature)
	if node.snapshots >= SNAPSHOTS_AT_ONCE then return refuse("ERR_BUSY", "too many snapshots at once") end
	local before, behind = node.writer:snapshot_answer(signature, node.lifecycle:is_complete())
	return node.store:snapshot({
		prefix = before, suffix = behind, max_bytes = node.config.MAX_SNAPSHOT_BYTES // 2,
		stubs = opened:features().stub == true,
	})
end

-- A body that counts as a snapshot under way until it is sent or dropped.
local function counted(node, body)
	node.snapshots = node.snapshots + 1
	return {
		len = function() return body:len() end,
		slice = function(_, from, count) return body:slice(from, count) end,
		close = function()
			body:close()
			node.snapshots = node.snapshots - 1
		end,
	}
end

-- Whether the chain says at this moment that the peer may have the secret.
local function may_have_secret(node, peer)
	local instance, message = node.peers:fresh(peer.wallet)
	if message then return refuse("ERR_CHAIN", "the registry cannot be reached") end
	if not instance or native.peer_point(instance.tee_pubkey) ~= peer.point then
		return refuse("ERR_FORBIDDEN", "not a KMS peer")
	end
	return node.lifecycle:is_verified() or refuse("ERR_NOT_READY", node.lifecycle.reason)
end

function ANSWERS.master_secret_request(node, opened, peer, signature)
	local pubkey = opened:text("ecdh_pubkey")
	if not pubkey then return refuse("ERR_FIELD_MISSING", "ecdh_pubkey: a required field is missing") end
	if not node.secret_limiter:take(peer.wallet:sub(11), node.mono_ms()) then
		return refuse("ERR_RATE", "too many requests for the secret")
	end
	local ok, message, code = may_have_secret(node, peer)
	if not ok then return nil, message, code end
	local sealed
	sealed, message, code = native.master_seal(node.secrets.current, pubkey)
	if not sealed then return nil, message, code end
	node.log:info("master secret handed to a peer", { peer = peer.wallet })
	return native.text_body(node.writer:secret_answer(signature, sealed))
end

local function carry_out(node, opened, authentic, peer, signature)
	local ok, message, code = check(node, opened, authentic, peer, signature)
	if not ok then return nil, message, code end
	local answer = ANSWERS[opened:text("type") or ""]
	if not answer then return refuse("ERR_FIELD_VALUE", "type: allowed is " .. TYPES) end
	-- It lives, and says what it is; a new life of its store has nothing of what was pushed to the old.
	node.peers:reached(peer)
	if node.peers:announced(peer, opened:features(), opened:text("store")) then node.pusher:started_anew(peer) end
	return answer(node, opened, peer, signature)
end

local function seal(node, plain, opened, peer, signature)
	local body, message, code = node.tee:seal(plain, peer.point)
	if not body then return nil, message, code end
	local own
	own, message, code = node.tee:sign(("NovaKMS:Response:%s:%s"):format(signature, node.tee.address))
	if not own then return nil, message, code end
	if opened:text("type") == "snapshot_request" then body = counted(node, body) end
	return { status = 200, body = body, headers = { ["X-KMS-Peer-Signature"] = own } }
end

local function answer(node, request, peer, signature)
	local opened, authentic, code = open(node, request, peer)
	if not opened then return err.reply(code, authentic) end
	local plain, message
	plain, message, code = carry_out(node, opened, authentic, peer, signature)
	local reply
	if plain then reply, message, code = seal(node, plain, opened, peer, signature) end
	opened:close()
	return reply or err.reply(code, message)
end

-- One request of a peer at a time: each can be large.
local function in_turn(node, request, peer, signature)
	if not node.sync_turns:take(peer.wallet) then return err.reply("ERR_BUSY", "too many requests of this peer wait") end
	local ok, reply = pcall(answer, node, request, peer, signature)
	node.sync_turns:give(peer.wallet)
	if not ok then error(reply, 0) end
	return reply
end

local function handler(node, request)
	if not node.lifecycle:is_verified() then return err.reply("ERR_NOT_READY", node.lifecycle.reason) end
	if routes_reply.announces_more(request, node.config.MAX_SYNC_PAYLOAD_BYTES) then return err.reply("ERR_TOO_LARGE") end
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
	node.sync_turns = turns.new(WAITING)
	node.snapshots = 0
	node.secret_limiter = assert(native.limiter(SECRETS_PER_MINUTE, SECRETS_PER_MINUTE, 4096))
end

return M
