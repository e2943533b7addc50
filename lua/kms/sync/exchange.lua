--- One exchange with a peer on POST /sync, from the nonce to the verified response (docs/protocol.md
-- sections 4, 6, 9). A response that cannot be verified is discarded, and the peer counts as unreachable: anybody on
-- the way can have made it. Only several in a row are misbehaviour (blacklist.lua).

local fetch = require("kms.http.fetch")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Exchange = {}
Exchange.__index = Exchange

local NONCE_TIMEOUT_MS = 5000
local CONNECT_TIMEOUT_MS = 3000
local CALL_TIMEOUT_MS = 10000
local MAX_NONCE = 128 -- characters
local KEPT_PART = 0.5 -- of POP_TIMEOUT_SECONDS: how long a nonce that came with a reply is kept
local MAX_NONCE_BODY_BYTES = 4096
local UNAUTHORIZED = 403 -- HTTP status, of a nonce that the peer does not know among others
local FORBIDDEN = 403
local MAX_RESPONSE_BYTES = 4 << 20

-- Codes of this node's own failures, which say nothing about the peer.
local OWN_FAILURES = {
	ERR_TEE = true, ERR_BUSY = true, ERR_MEMORY = true, ERR_LOCKED_MEMORY = true, ERR_CRYPTO = true, ERR_STATE = true,
	ERR_SYSTEM = true, ERR_NOTHING = true,
}

local function unreachable(self, peer, message, code)
	if OWN_FAILURES[code] then return nil, message, code end
	if code == "ERR_ADDRESS_REFUSED" then self.peers:report(peer, "private_address", message) end
	self.peers:unreachable(peer)
	return nil, message, code or "ERR_HTTP"
end

-- The response is not provably the peer's response to this call.
local function untrusted(self, peer, event, message, code)
	if OWN_FAILURES[code] then return nil, message, code end
	peer.was_trusted = nil
	self.peers:report(peer, event, message)
	self.peers:unreachable(peer)
	return nil, message, "ERR_UNVERIFIED"
end

local function is_nonce(nonce)
	return type(nonce) == "string" and nonce ~= "" and #nonce <= MAX_NONCE and not nonce:find("[%c:]")
end

-- The nonce that the peer's last reply brought, if it is recent. It is used once. The peer's POP_TIMEOUT_SECONDS may
-- be shorter than this node's: then it refuses the nonce, and is asked for another.
local function take_kept(self, peer)
	local nonce, kept_ms = peer.next_nonce, peer.next_nonce_ms
	peer.next_nonce = nil
	return nonce and native.mono_ms() - kept_ms < KEPT_PART * self.nonce_ms and nonce or nil
end

local function keep_nonce(peer, response)
	local nonce = response.headers["x-kms-next-nonce"]
	if is_nonce(nonce) then peer.next_nonce, peer.next_nonce_ms = nonce, native.mono_ms() end
end

-- Records what GET /nodes shows of the last call.
local function record_call(self, peer, response)
	peer.probed_ms, peer.probe_status = self.wall_ms(), response and response.status
end

-- Gets a nonce from the peer. Returns nonce | nil, message, code.
local function get_nonce(self, peer)
	local started = native.mono_ms()
	local response, message, code = fetch.json(self.outbound:guard({
		url = peer.url .. "/nonce", timeout_ms = NONCE_TIMEOUT_MS, connect_timeout_ms = CONNECT_TIMEOUT_MS,
		max_bytes = MAX_NONCE_BODY_BYTES,
	}))
	record_call(self, peer, response)
	if not response then return unreachable(self, peer, message, code) end
	peer.probe_ms = native.mono_ms() - started
	peer.gave_nonce = response.status == 200 or nil
	local nonce = type(response.value) == "table" and response.value.nonce
	if response.status ~= 200 or not is_nonce(nonce) then
		return unreachable(self, peer, ("GET /nonce: HTTP %d without a nonce"):format(response.status))
	end
	return nonce
end

-- Signs, builds and seals the request.
-- @return { body, headers, signature } | nil, message, code
local function prepare(self, peer, nonce, build, master)
	local now_s = self.wall_ms() // 1000
	local signature, message, code = self.tee:sign(("NovaKMS:Auth:%s:%s:%d"):format(nonce, peer.wallet, now_s))
	if not signature then return nil, message, code end
	local plain
	plain, message, code = build(signature, nonce)
	if not plain then return nil, message, code end
	local body
	body, message, code = self.tee:seal(plain, peer.point)
	if not body then return nil, message, code end
	local headers = {
		["Content-Type"] = "application/json", ["X-KMS-Signature"] = signature, ["X-KMS-Nonce"] = nonce,
		["X-KMS-Timestamp"] = tostring(now_s), ["X-KMS-Wallet"] = self.tee.address,
	}
	if master then
		headers["X-Sync-Signature"], message, code = native.sync_mac(body, master)
		if not headers["X-Sync-Signature"] then return nil, message, code end
	end
	return { body = body, headers = headers, signature = signature }
end

-- Whether a response belongs to this exchange. Only peers with the feature "pop" say so.
local function check_pop(self, peer, inner, signature)
	local pop = inner:text("pop")
	if pop then return pop == signature end
	return not self.peers:understands(peer, "pop")
end

-- Verifies and opens a response. Returns its inner message | nil, message, code.
local function verify(self, peer, response, signature)
	local ok, message, code = native.response_check(response.headers["x-kms-peer-signature"], signature, peer.wallet)
	if not ok then
		response.body:close()
		return untrusted(self, peer, "bad_response_signature", "X-KMS-Peer-Signature: " .. message, code)
	end
	local envelope, plain, inner
	envelope, message, code = native.envelope(response.body, peer.point)
	if not envelope then return untrusted(self, peer, "bad_envelope", message, code) end
	plain, message, code = self.tee:open(envelope, peer.point, "wiped")
	if not plain then return untrusted(self, peer, "bad_envelope", message, code) end
	inner, message, code = native.sync_parse(plain)
	if not inner then return untrusted(self, peer, "bad_envelope", "inner response: " .. message, code) end
	if not check_pop(self, peer, inner, signature) then
		return untrusted(self, peer, "bad_envelope", "the response belongs to another exchange")
	end
	if inner:text("status") ~= "ok" then return nil, "the response's status is not ok", "ERR_REFUSED" end
	return inner
end

local function refusal(self, peer, response)
	if type(response.body) ~= "string" then response.body:close() end
	-- A 5xx means that the peer, or a proxy before it, is failing: unreachable, not a refusal.
	if response.status >= 500 then
		return unreachable(self, peer, ("HTTP %d"):format(response.status), response.status == 503 and "ERR_NOT_READY" or nil)
	end
	self.peers:alive(peer)
	-- With the time after which the peer will have read the list of members again.
	if response.status == FORBIDDEN and response.headers["retry-after"] then
		return nil, "it does not list this node as a member", "ERR_NOT_LISTED"
	end
	local code = response.status == 413 and "ERR_TOO_LARGE" or "ERR_REFUSED"
	return nil, ("refused with HTTP %d"):format(response.status), code
end

--- Reports a verified response that does not fit the request. Existing nodes do not say which exchange a
-- response belongs to, so an old response can be replayed.
-- @param code of the check that failed, or nil; this node's own failures are not reported
-- @return message, code
function Exchange:distrust(peer, message, code)
	return select(2, untrusted(self, peer, "bad_envelope", message, code))
end

-- Signs, seals and posts the request. Returns response, signature | nil, message, code.
local function post(self, peer, nonce, build, options)
	local prepared, message, code = prepare(self, peer, nonce, build, options.master)
	if not prepared then return nil, message, code end
	local response
	local sent_ms = native.mono_ms()
	response, message, code = fetch.request(self.outbound:guard({
		url = peer.url .. "/sync", method = "POST", headers = prepared.headers, body = prepared.body, handle = true,
		timeout_ms = options.timeout_ms or CALL_TIMEOUT_MS, stall_s = options.stall_s,
		connect_timeout_ms = CONNECT_TIMEOUT_MS,
		max_bytes = options.max_bytes or MAX_RESPONSE_BYTES,
	}))
	prepared.body:close()
	record_call(self, peer, response)
	if response then
		response.sent_ms, response.got_ms = sent_ms, native.mono_ms()
		return response, prepared.signature
	end
	return unreachable(self, peer, message, code)
end

-- Posts with the nonce of the last reply, or with a new one. A kept nonce may be one that the peer forgot when it
-- restarted: it refuses, and the request is sent once more. Returns as post.
local function post_with_nonce(self, peer, build, options)
	local kept = take_kept(self, peer)
	if kept then
		local response, signature_or_message, code = post(self, peer, kept, build, options)
		if not response or response.status ~= UNAUTHORIZED then return response, signature_or_message, code end
		if type(response.body) ~= "string" then response.body:close() end
	end
	local nonce, message, code = get_nonce(self, peer)
	if not nonce then return nil, message, code end
	return post(self, peer, nonce, build, options)
end

--- Sends one request and verifies the response. Yields.
-- @param peer of kms.peers
-- @param build function(signature, nonce) -> inner text (native body) | nil, message, code; called again when the
--   request is sent once more
-- @param options master: secret whose sync key authenticates the body (nil: none); timeout_ms (default 10000);
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
	local response, signature, code = post_with_nonce(self, peer, build, options)
	if not response then
		local message = signature
		return nil, message, code
	end
	if response.status ~= 200 then return refusal(self, peer, response) end
	local bytes = response.body:len()
	local inner, message
	inner, message, code = verify(self, peer, response, signature)
	if not inner then return nil, message, code end
	keep_nonce(peer, response)
	peer.was_trusted = true
	self.peers:answered(peer)
	if self.peers:announced(peer, inner:features(), inner:text("store")) then self.on_anew(peer) end
	-- A reply that does not name its exchange may be an old one.
	local time_ms = inner:text("pop") and inner:time()
	if time_ms then self.on_time(peer, time_ms, response.sent_ms, response.got_ms) end
	return inner, nil, nil, bytes
end

--- @param deps tee; peers (kms.peers); outbound (kms.peers.outbound); wall_ms; nonce_ms (POP_TIMEOUT_SECONDS in
--   milliseconds: how long nonces live in this cluster); on_anew (function(peer): called when
--   a response comes from another store than the one before: the peer has restarted); on_time (function(peer, time_ms,
--   sent_ms, got_ms): the peer's time in a response, and when this node sent the request and got it, monotonic)
function M.new(deps)
	return setmetatable(needs.take(deps, "tee peers outbound wall_ms nonce_ms on_anew on_time"), Exchange)
end

return M
