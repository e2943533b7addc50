--- What is done for a message of a member that is open, whichever envelope brought it: nothing, except for a request
-- for the master secret, without a proof that its sender holds the secret.

local key_lock = require("kms.async.key_lock")
local finally = require("kms.async.finally")
local native = require("kms_native")
local needs = require("kms.base.needs")
local replies = require("kms.sync.replies")

local M = {}

local Serving = {}
Serving.__index = Serving

local WAITING = 8 -- requests of a peer that wait while one of its requests is served

local TYPES = "delta, digest, snapshot_request, master_secret_request"

local function refuse(code, message)
	return nil, message, code
end

-- Checks again what the caller was checked for, after a wait: the peer, this node's membership or the
-- master secret may have changed meanwhile.
local function still_stands(self, exchange)
	local peer, message, code = self.callers:known(exchange.peer.wallet)
	if not peer then return nil, message, code end
	if not self.readiness:is_verified() then return refuse("ERR_NOT_READY", self.readiness.reason) end
	if self.secrets.current == exchange.secret then return true end
	return refuse("ERR_NOT_READY", "the master secret has just changed")
end

--- One request of a peer, from its sender to the reply. Fields:
--   peer          its sender
--   proof         what the reply repeats of the request's (kms.sync.message): pop, or nothing in a session
--   nonce         what attestation documents in it are bound to
--   is_sealed     whether it came in a session
--   bytes         of it that are in memory while it waits; nil: none
--   secret        the master secret that it was checked under; set by whoever opens it
--   authentic     whether its sender has shown that it holds that secret; set likewise
--   slot          of a snapshot or page (kms.sync.page_slots); set by kms.sync.replies
--   stands()      true | nil, message, code: to be called after each wait
-- @param fields peer, proof, nonce, is_sealed, bytes
-- @return exchange
function Serving:exchange(fields)
	function fields.stands() return still_stands(self, fields) end
	return fields
end

-- Checks who wrote the message. Returns true | nil, message, code.
local function check_sender(self, opened, exchange)
	local peer, sender = exchange.peer, opened:text("sender_wallet")
	if sender and native.address(sender) ~= peer.wallet then
		-- Only the sync key proves that the peer wrote this: without it, it may be this node's own request, sent
		-- back under the peer's name, since both use one channel key.
		if exchange.authentic then self.peers:report(peer, "identity_mismatch", "sender_wallet is another one") end
		return refuse("ERR_UNAUTHORIZED", "sender_wallet does not match the signature")
	end
	if opened:text("type") ~= "master_secret_request" and not exchange.authentic then
		self.peers:record(peer, "bad_hmac", "no valid proof of the sync key")
		return refuse("ERR_MAC", exchange.is_sealed and "missing or invalid mac" or nil)
	end
	return true
end

-- Version 1 only: whether the body belongs to these headers.
local function check_pop(self, opened, exchange)
	local pop = opened:text("pop")
	local required = self.require_pop or self.peers:understands(exchange.peer, "pop")
	if (pop or required) and pop ~= exchange.proof.pop then return refuse("ERR_POP_BINDING") end
	return true
end

--- Does what a message asks for. Yields.
-- @param opened the message (native.sync_parse); @param exchange of Serving:exchange
-- @return the reply's inner text (body handle) | nil, message, code, seconds to wait
function Serving:execute(opened, exchange)
	local ok, message, code = exchange.stands()
	if ok and not exchange.is_sealed then ok, message, code = check_pop(self, opened, exchange) end
	if ok then ok, message, code = check_sender(self, opened, exchange) end
	if not ok then return nil, message, code end
	local kind = opened:text("type")
	if not replies.is_type(kind or "") then return refuse("ERR_FIELD_VALUE", "type: allowed is " .. TYPES) end
	-- A peer with a new store has lost everything that was pushed to it.
	local peer, is_bound = exchange.peer, exchange.is_sealed or opened:text("pop") ~= nil
	self.peers:has_called(peer)
	local restarted = self.peers:announced(peer, opened:features(), opened:text("store"), is_bound)
	if restarted then self.pusher:started_anew(peer) end
	return self.replies:reply(kind, opened, exchange)
end

-- Gives back the slot of a snapshot that is not sent.
local function release_unsent(exchange)
	if exchange.slot then exchange.slot:release() end
end

--- The body of a reply as the connection sends it: it holds the exchange's slot until it is sent.
function Serving.sent(_, body, exchange)
	if not exchange.slot then return body end
	local held = exchange.slot:hold(body)
	exchange.slot = nil
	return held
end

local function give_back(self, exchange)
	local wallet = exchange.peer.wallet
	local left = (self.held[wallet] or 0) - (exchange.bytes or 0)
	self.held[wallet] = left > 0 and left or nil
end

--- Calls fn(...) when no other request of the exchange's peer is served, since each can be large. Yields. What is in
-- memory while it waits has the room of one request, or is the only one.
-- @return true, what fn returned | false: too many wait
function Serving:in_turn(exchange, fn, ...)
	local wallet, bytes = exchange.peer.wallet, exchange.bytes or 0
	local held = self.held[wallet] or 0
	if held > 0 and bytes > self.max_bytes - held then return false end
	self.held[wallet] = held + bytes
	return finally.call(give_back, self, exchange, self.lock.with, self.lock, wallet,
		finally.call, release_unsent, exchange, nil, fn, ...)
end

--- @param deps callers (kms.sync.callers), peers, pusher (kms.sync.push), replies (kms.sync.replies), readiness
-- (is_verified, reason), secrets (field current), require_pop (REQUIRE_POP), max_bytes (MAX_SYNC_PAYLOAD_BYTES)
function M.new(deps)
	local self = needs.take(deps, "callers peers pusher replies readiness secrets require_pop max_bytes")
	self.lock, self.held = key_lock.new(WAITING), {} -- held: bytes by wallet
	return setmetatable(self, Serving)
end

return M
