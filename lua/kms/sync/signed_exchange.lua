--- One exchange with a peer in version 1: POST /sync, from the nonce to the verified response (docs/protocol.md
-- sections 4, 6, 9). A response that cannot be verified is discarded, and the peer counts as unreachable: anybody on
-- the way can have made it. Only several in a row are misbehaviour (bans.lua).

local calls_module = require("kms.sync.calls")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Signed = {}
Signed.__index = Signed

-- Signs, builds and seals the request.
-- @return { body, headers, signature } | nil, message, code
local function prepare(self, peer, nonce, build, master)
	local now_s = self.wall_ms() // 1000
	local signature, message, code = self.tee:sign(("NovaKMS:Auth:%s:%s:%d"):format(nonce, peer.wallet, now_s))
	if not signature then return nil, message, code end
	local plain
	plain, message, code = build({ pop = signature }, nonce)
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
	local calls = self.calls
	local ok, message, code = native.response_check(response.headers["x-kms-peer-signature"], signature, peer.wallet)
	if not ok then
		response.body:close()
		return calls:untrusted(peer, "bad_response_signature", "X-KMS-Peer-Signature: " .. message, code)
	end
	local envelope, plain, inner
	envelope, message, code = native.envelope(response.body, peer.point)
	if not envelope then return calls:untrusted(peer, "bad_envelope", message, code) end
	plain, message, code = self.tee:open(envelope, peer.point, "wiped")
	if not plain then return calls:untrusted(peer, "bad_envelope", message, code) end
	inner, message, code = native.sync_parse(plain)
	if not inner then return calls:untrusted(peer, "bad_envelope", "inner response: " .. message, code) end
	if not check_pop(self, peer, inner, signature) then
		return calls:untrusted(peer, "bad_envelope", "the response belongs to another exchange")
	end
	return inner
end

-- Signs, seals and posts the request. Returns response, signature | nil, message, code.
local function post(nonce, self, peer, build, options)
	local prepared, message, code = prepare(self, peer, nonce, build, options.master)
	if not prepared then return nil, message, code end
	local response
	response, message, code = self.calls:post(peer, "/sync", prepared.headers, prepared.body, options)
	if not response then return self.calls:unreachable(peer, message, code) end
	return response, prepared.signature
end

--- Sends one request and verifies the response, as kms.sync.exchange does.
-- @return the inner message, the HTTP response | nil, message, code
function Signed:call(peer, build, options)
	local response, signature, code = self.calls:with_nonce(peer, post, self, peer, build, options)
	if not response then
		local message = signature
		return nil, message, code
	end
	if response.status ~= 200 then
		calls_module.drop_body(response)
		return self.calls:refusal(peer, response.status, response.headers["retry-after"])
	end
	local inner, message
	inner, message, code = verify(self, peer, response, signature)
	if not inner then return nil, message, code end
	self.calls:keep_nonce(peer, response)
	return inner, response
end

--- @param deps tee; peers (kms.peers); calls (kms.sync.calls); wall_ms
function M.new(deps)
	return setmetatable(needs.take(deps, "tee peers calls wall_ms"), Signed)
end

return M
