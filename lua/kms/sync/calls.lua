--- HTTP calls to a peer, and what a failure says of it: what kms.sync.signed_exchange and kms.sync.session_exchange
-- share.

local fetch = require("kms.http.fetch")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Calls = {}
Calls.__index = Calls

local NONCE_TIMEOUT_MS = 5000
local CONNECT_TIMEOUT_MS = 3000
local CALL_TIMEOUT_MS = 10000
local MAX_NONCE = 128 -- characters
local KEPT_PART = 0.5 -- of POP_TIMEOUT_SECONDS: how long a nonce that came with a reply is kept
local MAX_NONCE_BODY_BYTES = 4096
local MAX_RESPONSE_BYTES = 4 << 20
local UNAUTHORIZED = 403 -- HTTP status, of a nonce that the peer does not know among others
local FORBIDDEN = 403

-- Codes of this node's own failures, which say nothing about the peer.
local OWN_FAILURES = {
	ERR_TEE = true, ERR_BUSY = true, ERR_MEMORY = true, ERR_LOCKED_MEMORY = true, ERR_CRYPTO = true, ERR_STATE = true,
	ERR_SYSTEM = true, ERR_NOTHING = true,
}

--- Records that a peer could not be reached, unless the failure is this node's own.
-- @return nil, message, code
function Calls:unreachable(peer, message, code)
	if OWN_FAILURES[code] then return nil, message, code end
	if code == "ERR_ADDRESS_REFUSED" then self.peers:report(peer, "private_address", message) end
	self.peers:unreachable(peer)
	return nil, message, code or "ERR_HTTP"
end

--- Records a response that is not provably the peer's to this call.
-- @param event of kms.policy.schema.EVENTS
-- @return nil, message, code
function Calls:untrusted(peer, event, message, code)
	if OWN_FAILURES[code] then return nil, message, code end
	peer.was_trusted = nil
	self.peers:report(peer, event, message)
	self.peers:unreachable(peer)
	return nil, message, "ERR_UNVERIFIED"
end

--- What a refusal means.
-- @param status of HTTP, or of a refusal inside a session; @param wait_s Retry-After, or nil
-- @return nil, message, code
function Calls:refusal(peer, status, wait_s)
	-- A 5xx means that the peer, or a proxy before it, is failing: unreachable, not a refusal.
	if status >= 500 then
		return self:unreachable(peer, ("HTTP %d"):format(status), status == 503 and "ERR_NOT_READY" or nil)
	end
	self.peers:alive(peer)
	-- With the time after which the peer will have read the list of members again.
	if status == FORBIDDEN and wait_s then
		return nil, "it does not list this node as a member", "ERR_NOT_LISTED"
	end
	local code = status == 413 and "ERR_TOO_LARGE" or "ERR_REFUSED"
	return nil, ("refused with HTTP %d"):format(status), code
end

-- ---- nonces ----------------------------------------------------------------------------------------------

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

--- Keeps the nonce that came with a verified response.
function Calls.keep_nonce(_, peer, response)
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
	if not response then return self:unreachable(peer, message, code) end
	peer.probe_ms = native.mono_ms() - started
	peer.gave_nonce = response.status == 200 or nil
	local nonce = type(response.value) == "table" and response.value.nonce
	if response.status ~= 200 or not is_nonce(nonce) then
		return self:unreachable(peer, ("GET /nonce: HTTP %d without a nonce"):format(response.status))
	end
	return nonce
end

--- Closes the body of a response that is not read.
function M.drop_body(response)
	if type(response.body) ~= "string" then response.body:close() end
end

--- Calls attempt(nonce, ...) with the nonce of the last reply, or with a new one. A kept nonce may be one that the peer
-- forgot when it restarted: it refuses, and the attempt is made once more. Yields.
-- @param attempt function(nonce, ...) -> response, more | nil, message, code
-- @return what the attempt returned | nil, message, code: there is no nonce
function Calls:with_nonce(peer, attempt, ...)
	local kept = take_kept(self, peer)
	if kept then
		local response, more, code = attempt(kept, ...)
		if not response or response.status ~= UNAUTHORIZED then return response, more, code end
		M.drop_body(response)
	end
	local nonce, message, code = get_nonce(self, peer)
	if not nonce then return nil, message, code end
	return attempt(nonce, ...)
end

-- ---- calls -----------------------------------------------------------------------------------------------

--- Posts a body to a peer. Yields.
-- @param path of the route; headers: by name; body: handle, which is closed
-- @param options timeout_ms (10000); stall_s (seconds without a byte, no limit); max_bytes of the response (4 MiB);
--   once: the body is sent at most once; direct (kms.http.fetch)
-- @return response { status, headers, body (handle, or "" unless the status is 2xx), bytes (of the body), sent_ms,
--   got_ms } | nil, message, code, whether the peer may have got any of it
function Calls:post(peer, path, headers, body, options)
	local sent_ms = native.mono_ms()
	local response, message, code, sent = fetch.request(self.outbound:guard({
		url = peer.url .. path, method = "POST", headers = headers, body = body, handle = true, once = options.once,
		timeout_ms = options.timeout_ms or CALL_TIMEOUT_MS, stall_s = options.stall_s, direct = options.direct,
		connect_timeout_ms = CONNECT_TIMEOUT_MS, max_bytes = options.max_bytes or MAX_RESPONSE_BYTES,
	}))
	body:close()
	record_call(self, peer, response)
	if not response then return nil, message, code, sent end
	response.sent_ms, response.got_ms, response.bytes = sent_ms, native.mono_ms(), response.body:len()
	return response
end

--- @param deps peers (kms.peers); outbound (kms.peers.outbound); wall_ms; nonce_ms (POP_TIMEOUT_SECONDS in
--   milliseconds: how long nonces live in this cluster)
function M.new(deps)
	return setmetatable(needs.take(deps, "peers outbound wall_ms nonce_ms"), Calls)
end

return M
