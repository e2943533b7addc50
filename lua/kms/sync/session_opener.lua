--- Opens sessions with peers, and keeps them (docs/protocol.md section 15.6). A peer's `session` is the one in use.

local calls_module = require("kms.sync.calls")
local finally = require("kms.async.finally")
local native = require("kms_native")
local needs = require("kms.base.needs")
local single_flight = require("kms.async.single_flight")

local M = {}

local Opener = {}
Opener.__index = Opener

local USED_PART = 0.9 -- of its times: it is seldom found ended then
local IDLE_PART = 4 -- a session ends after the fourth part of its life without use
local MAX_ENDED = 8 -- sessions given up that the next opening names
local MAX_ANSWER_BYTES = 16384

-- ---- sessions --------------------------------------------------------------------------------------------

-- A call that is under way uses it, however long that takes.
local function is_usable(held, peer, now)
	if held.point ~= peer.point or now >= held.ends_ms then return false end
	return held.calls > 0 or now - held.used_ms < held.idle_ms
end

--- Ends a session, which the next opening tells the peer.
-- @param held the session; one that is not the peer's any more has been given up before
function Opener.give_up(_, peer, held)
	if peer.session ~= held then return end
	peer.session = nil
	local sid = held.native:sid()
	held.native:finish()
	local ended = peer.ended_sessions or {}
	peer.ended_sessions = ended
	ended[#ended + 1] = sid
	if #ended > MAX_ENDED then table.remove(ended, 1) end
end

--- Ends the session with a peer that is none any more, has another key, or has not used it for long.
function Opener:expire(peer)
	local held = peer.session
	if held and not (self.peers:peer(peer.wallet) == peer and is_usable(held, peer, self.mono_ms())) then
		self:give_up(peer, held)
	end
end

-- ---- opening ---------------------------------------------------------------------------------------------

local function drop_offer(sent)
	if sent.offer then sent.offer:close() end
	sent.offer = nil
end

-- Makes, seals, signs and posts an offer, and notes in `sent` what of it the keys come from.
-- Returns response | nil, message, code.
local function post(nonce, self, peer, sent)
	drop_offer(sent)
	local plain, message, code
	sent.offer, plain, code = native.session_offer(peer.ended_sessions or {})
	if not sent.offer then return nil, plain, code end
	local sealed
	sealed, message, code = self.tee:seal(plain, peer.point)
	if not sealed then return nil, message, code end
	local now_s = self.wall_ms() // 1000
	sent.body = sealed:slice(1, sealed:len())
	sent.text = ("NovaKMS:PeerSession:%s:%s:%d:%s"):format(nonce, peer.wallet, now_s,
		native.hex_encode(native.sha256(sent.body)))
	sent.signature, message, code = self.tee:sign(sent.text)
	if not sent.signature then
		sealed:close()
		return nil, message, code
	end
	local response
	response, message, code = self.calls:post(peer, "/session", {
		["Content-Type"] = "application/json", ["X-KMS-Signature"] = sent.signature, ["X-KMS-Nonce"] = nonce,
		["X-KMS-Timestamp"] = tostring(now_s), ["X-KMS-Wallet"] = self.tee.address,
	}, sealed, { max_bytes = MAX_ANSWER_BYTES, once = true })
	if not response then return self.calls:unreachable(peer, message, code) end
	return response
end

-- Verifies an answer and derives the keys. Returns session (native), expires_s | nil, message, code.
local function accept(self, peer, response, sent)
	local calls = self.calls
	local answer = response.body:slice(1, response.body:len())
	local ok, message, code = native.session_answer_check(response.headers["x-kms-session-signature"], sent.signature,
		peer.wallet, answer)
	if not ok then
		response.body:close()
		return calls:untrusted(peer, "bad_response_signature", "X-KMS-Session-Signature: " .. message, code)
	end
	local envelope, plain
	envelope, message, code = native.envelope(response.body, peer.point)
	if not envelope then return calls:untrusted(peer, "bad_envelope", message, code) end
	plain, message, code = self.tee:open(envelope, peer.point, "guarded")
	if not plain then return calls:untrusted(peer, "bad_envelope", message, code) end
	local session, expires_s
	session, expires_s, code = sent.offer:accept(plain, sent.text, sent.body, answer)
	if session then return session, expires_s end
	message = expires_s
	return calls:untrusted(peer, "bad_envelope", "the answer to an opening: " .. message, code)
end

-- What an answer in plain to an opening means. Only the peer's signed answer says that it has no sessions.
local function refusal(self, peer, status)
	if status == 429 or status >= 500 and status ~= 501 then return self.calls:refusal(peer, status) end
	return nil, ("no session: HTTP %d"):format(status), "ERR_NO_SESSION"
end

local function offer_and_accept(self, peer, sent)
	local point = peer.point
	local response, message, code = self.calls:with_nonce(peer, post, self, peer, sent)
	if not response then return nil, message, code end
	if response.status ~= 200 then
		calls_module.drop_body(response)
		return refusal(self, peer, response.status)
	end
	local session, expires_s
	session, expires_s, code = accept(self, peer, response, sent)
	if not session then return nil, expires_s, code end
	self.calls:keep_nonce(peer, response)
	local now, life_ms = self.mono_ms(), expires_s * 1000 * USED_PART
	peer.session = {
		native = session, point = point, ends_ms = now + life_ms, idle_ms = life_ms / IDLE_PART, used_ms = now, calls = 0,
	}
	peer.ended_sessions, peer.had_session = nil, true
	return peer.session
end

local function open(self, peer)
	local sent = {}
	return finally.call(drop_offer, sent, nil, offer_and_accept, self, peer, sent)
end

--- The session with a peer; opens one if there is none. Yields.
-- @return { native; its user's: used_ms (when the last answer came), calls (under way) } | nil, message, code:
--   ERR_NO_SESSION (the peer refuses in plain), else as kms.sync.exchange
function Opener:session(peer)
	self:expire(peer)
	if peer.session then return peer.session end
	return self.flights:with(peer.wallet, open, self, peer)
end

--- @param deps tee; peers (kms.peers); calls (kms.sync.calls); mono_ms; wall_ms
function M.new(deps)
	local self = needs.take(deps, "tee peers calls mono_ms wall_ms")
	self.flights = single_flight.new()
	return setmetatable(self, Opener)
end

return M
