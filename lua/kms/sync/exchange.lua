--- One exchange with a peer: a request and its verified response, in a session where both sides have them, else in
-- version 1 (docs/protocol.md sections 9 and 15.6).

local calls = require("kms.sync.calls")
local native = require("kms_native")
local needs = require("kms.base.needs")
local session_exchange = require("kms.sync.session_exchange")
local session_opener = require("kms.sync.session_opener")
local signed_exchange = require("kms.sync.signed_exchange")

local M = {}

local Exchange = {}
Exchange.__index = Exchange

--- Reports a verified response that does not fit the request. Existing nodes do not say which exchange a
-- response belongs to, so an old response can be replayed.
-- @param code of the check that failed, or nil; this node's own failures are not reported
-- @return message, code
function Exchange:distrust(peer, message, code)
	return select(2, self.calls:untrusted(peer, "bad_envelope", message, code))
end

--- Whether messages to a peer go through a session. What builds one for the other envelope must fail.
function Exchange:uses_session(peer)
	return self.has_sessions() and self.peers:has_sessions(peer)
end

-- Notes what an authentic response says of its sender.
local function note(self, peer, inner, response, is_sealed)
	local is_bound = is_sealed or inner:text("pop") ~= nil
	peer.was_trusted = true
	self.peers:answered(peer)
	if self.peers:announced(peer, inner:features(), inner:text("store"), is_bound) then self.on_anew(peer) end
	-- A reply that does not name its exchange may be an old one.
	local time_ms = is_bound and inner:time()
	if time_ms then self.on_time(peer, time_ms, response.sent_ms, response.got_ms) end
end

-- One exchange through `carrier`. Returns inner message, nil, nil, bytes of the response | nil, message, code.
local function call(self, carrier, peer, build, options)
	local inner, response, code = carrier:call(peer, build, options)
	if not inner then
		local message = response
		return nil, message, code
	end
	if inner:text("status") ~= "ok" then return nil, "the response's status is not ok", "ERR_REFUSED" end
	note(self, peer, inner, response, carrier == self.sealed)
	return inner, nil, nil, response.bytes
end

-- A peer has refused an opening in plain, as anybody on the way can. It is asked in version 1 what it has: by a delta
-- without records, or, before this node holds the secret, by the request for it, which holds nothing secret and which a
-- peer with sessions answers without the secret.
local function ask_again(self, peer, build, options)
	local question = options.master and function(proof)
		local prefix, suffix = self.writer:delta(proof)
		return native.text_body(prefix .. "{}" .. suffix)
	end
	local answer, message, code, bytes = call(self, self.signed, peer, question or build, options)
	if not answer then return nil, message, code end
	if self:uses_session(peer) then
		return self.calls:unreachable(peer, "it has sessions, and something on the way refuses to open one")
	end
	if not question then return answer, nil, nil, bytes end
	return call(self, self.signed, peer, build, options)
end

--- Sends one request and verifies the response. Yields.
-- @param peer of kms.peers
-- @param build function(proof, nonce) -> inner text (native body) | nil, message, code; called again when the request
--   is sent once more. proof: what shows who wrote it, for kms.sync.message; its `base64`: whether values are in
--   base64. nonce: what attestation documents are bound to
-- @param options master: secret whose sync key authenticates the message (nil: none); timeout_ms (default 10000);
--   stall_s (seconds without a byte, default: no limit); max_bytes of the response (default 4 MiB)
-- @return the inner message (native sync message), nil, nil, bytes of the body that it came in | nil, message, code:
--   ERR_REFUSED, ERR_TOO_LARGE (HTTP 413), ERR_NOT_LISTED (the peer's list of members lacks this node), ERR_NOT_READY
--   (HTTP 503), ERR_UNVERIFIED (the response is not trusted), ERR_URL (the peer's URL is not allowed), the code that
--   build gave, one of this node's own failures, or why the peer could not be reached
function Exchange:call(peer, build, options)
	if not peer.url then return nil, "its URL is not one to call", "ERR_URL" end
	-- Only now is it certain that the caller found nothing wrong with the response before this one.
	if peer.was_trusted then self.peers:trusted(peer) end
	peer.was_trusted = nil
	if not self:uses_session(peer) then return call(self, self.signed, peer, build, options) end
	local inner, message, code, bytes = call(self, self.sealed, peer, build, options)
	if inner or code ~= "ERR_NO_SESSION" then return inner, message, code, bytes end
	return ask_again(self, peer, build, options)
end

--- Ends the sessions with peers that have left or have another key, and those that have not been used for long.
function Exchange:expire()
	for _, peer in pairs(self.peers.known) do self.opener:expire(peer) end
end

--- @param deps tee; peers (kms.peers); outbound (kms.peers.outbound); writer (kms.sync.message); wall_ms; nonce_ms
--   (POP_TIMEOUT_SECONDS in milliseconds: how long nonces live in this cluster); max_body_bytes
--   (MAX_SYNC_PAYLOAD_BYTES); has_sessions (function -> whether this node has sessions with members); on_anew
--   (function(peer): called when a response comes from another store than the one before: the peer has restarted);
--   on_time (function(peer, time_ms, sent_ms, got_ms): the peer's time in a response, and when this node sent the
--   request and got it, monotonic)
function M.new(deps)
	local self = needs.take(deps,
		"tee peers outbound writer wall_ms nonce_ms max_body_bytes has_sessions on_anew on_time")
	self.calls = calls.new({
		peers = self.peers, outbound = self.outbound, wall_ms = self.wall_ms, nonce_ms = self.nonce_ms,
	})
	self.signed = signed_exchange.new({ tee = self.tee, peers = self.peers, calls = self.calls, wall_ms = self.wall_ms })
	self.opener = session_opener.new({
		tee = self.tee, peers = self.peers, calls = self.calls, mono_ms = native.mono_ms, wall_ms = self.wall_ms,
	})
	self.sealed = session_exchange.new({
		peers = self.peers, calls = self.calls, opener = self.opener, mono_ms = native.mono_ms, wall_ms = self.wall_ms,
		max_body_bytes = self.max_body_bytes,
	})
	return setmetatable(self, Exchange)
end

return M
