--- One exchange with a peer on POST /sync, from the nonce to the verified answer (docs/protocol.md
-- sections 4, 6, 9). What cannot be verified is discarded and counts against the peer.

local fetch = require("kms.http.fetch")
local native = require("kms_native")

local M = {}

local Caller = {}
Caller.__index = Caller

local NONCE_TIMEOUT_MS = 5000
local CONNECT_TIMEOUT_MS = 3000
local MAX_NONCE = 128
local MAX_NONCE_BYTES = 4096

-- Codes of failures of our own, which say nothing about the peer.
local OWN = {
	ERR_TEE = true, ERR_BUSY = true, ERR_MEMORY = true, ERR_LOCKED_MEMORY = true, ERR_CRYPTO = true, ERR_STATE = true,
	ERR_SYSTEM = true, ERR_NOTHING = true,
}

local function unreachable(self, peer, message, code)
	if OWN[code] then return nil, message, code end
	if code == "ERR_ADDRESS_REFUSED" then self.peers:report(peer, "private_address", message) end
	self.peers:unreachable(peer)
	return nil, message, code or "ERR_HTTP"
end

-- The answer is not one that the peer has provably given to this call.
local function untrusted(self, peer, event, message, code)
	if OWN[code] then return nil, message, code end
	self.peers:report(peer, event, message)
	return nil, message, "ERR_UNVERIFIED"
end

local function ask_nonce(self, peer)
	local started = native.mono_ms()
	local value, response, code = fetch.json(self.egress:guard({
		url = peer.url .. "/nonce", timeout_ms = NONCE_TIMEOUT_MS, connect_timeout_ms = CONNECT_TIMEOUT_MS,
		max_bytes = MAX_NONCE_BYTES,
	}))
	peer.probed_ms, peer.probe_status = self.wall_ms(), nil
	if value == nil then return unreachable(self, peer, response, code) end
	peer.probe_status, peer.probe_ms = response.status, native.mono_ms() - started
	local nonce = type(value) == "table" and value.nonce
	if response.status ~= 200 or type(nonce) ~= "string" or nonce == "" or #nonce > MAX_NONCE or nonce:find("[%c:]") then
		return unreachable(self, peer, ("GET /nonce: HTTP %d without a nonce"):format(response.status))
	end
	return nonce
end

-- Body and headers of the request. `build(signature, nonce)` gives its inner text as a handle.
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
	return body, headers, signature
end

-- Whether an answer belongs to this exchange: always said by peers that are known to say it.
local function check_pop(self, peer, answer, signature)
	local pop = answer:text("pop")
	if pop then return pop == signature end
	return not self.peers:understands(peer, "pop")
end

-- Opens what came back.
local function verify(self, peer, response, signature)
	local ok, message, code = native.response_check(response.headers["x-kms-peer-signature"], signature, peer.wallet)
	if not ok then
		response.body:close()
		return untrusted(self, peer, "bad_response_signature", "X-KMS-Peer-Signature: " .. message, code)
	end
	local envelope, plain, answer
	envelope, message, code = native.envelope(response.body, peer.point)
	if not envelope then return untrusted(self, peer, "bad_envelope", message, code) end
	plain, message, code = self.tee:open(envelope, peer.point, "wiped")
	if not plain then return untrusted(self, peer, "bad_envelope", message, code) end
	answer, message, code = native.sync_parse(plain)
	if not answer then return untrusted(self, peer, "bad_envelope", "inner answer: " .. message, code) end
	if not check_pop(self, peer, answer, signature) then
		return untrusted(self, peer, "bad_envelope", "the answer belongs to another exchange")
	end
	if answer:text("status") ~= "ok" then return nil, "the answer's status is not ok", "ERR_REFUSED" end
	return answer
end

local function refusal(self, peer, response)
	if type(response.body) ~= "string" then response.body:close() end
	-- Whoever says 5xx is in trouble itself, or whoever stands before it is.
	if response.status >= 500 then
		return unreachable(self, peer, ("HTTP %d"):format(response.status), response.status == 503 and "ERR_NOT_READY" or nil)
	end
	self.peers:reached(peer)
	local code = response.status == 413 and "ERR_TOO_LARGE" or "ERR_REFUSED"
	return nil, ("refused with HTTP %d"):format(response.status), code
end

--- Notes that a verified answer is not one to the request: an existing node does not say which
-- exchange an answer belongs to.
-- @param code  of what found it, or nil; this node's own troubles say nothing about the peer
-- @return message, code
function Caller:distrust(peer, message, code)
	return select(2, untrusted(self, peer, "bad_envelope", message, code))
end

--- Sends one request and gives the verified answer. Needs a coroutine.
-- @param peer of kms.peers
-- @param build function(signature, nonce) -> inner text (kms.body) | nil, message, code
-- @param options master: secret whose sync key signs the body (nil: not signed); timeout_ms (10000);
--   max_bytes of the answer (4 MiB)
-- @return answer (kms.message) | nil, message, code: ERR_REFUSED (it said no), ERR_NOT_READY (it is there,
--   but not ready), ERR_UNVERIFIED (the answer is not to be trusted), ERR_URL (none to call), what build
--   gave, one of this node's own troubles, or that it could not be reached
function Caller:exchange(peer, build, options)
	if not peer.url then return nil, "its URL is not one to call", "ERR_URL" end
	local nonce, message, code = ask_nonce(self, peer)
	if not nonce then return nil, message, code end
	local body, headers, signature = prepare(self, peer, nonce, build, options.master)
	if not body then return nil, headers, signature end
	local response
	response, message, code = fetch.request(self.egress:guard({
		url = peer.url .. "/sync", method = "POST", headers = headers, body = body, handle = true,
		timeout_ms = options.timeout_ms or 10000, connect_timeout_ms = CONNECT_TIMEOUT_MS,
		max_bytes = options.max_bytes or 4 << 20,
	}))
	body:close()
	if not response then return unreachable(self, peer, message, code) end
	if response.status ~= 200 then return refusal(self, peer, response) end
	local answer
	answer, message, code = verify(self, peer, response, signature)
	if not answer then return nil, message, code end
	self.peers:reached(peer)
	if self.peers:announced(peer, answer:features(), answer:text("store")) then self.on_anew(peer) end
	return answer
end

--- @param deps tee, peers, egress, wall_ms; on_anew (function(peer): an answer shows that its store is a
-- new one)
function M.new(deps)
	return setmetatable({
		tee = deps.tee, peers = deps.peers, egress = deps.egress, wall_ms = deps.wall_ms, on_anew = deps.on_anew,
	}, Caller)
end

return M
