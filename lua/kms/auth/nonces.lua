--- Nonces for callers to sign (docs/protocol.md section 3). They are used up where signatures are
-- verified, in C.

local needs = require("kms.base.needs")

local M = {}

local Nonces = {}
Nonces.__index = Nonces

--- Issues a nonce.
-- @return text | nil, message, code: ERR_NONCES_OUT when as many as are remembered are out
function Nonces:issue()
	return self.native:issue(self.mono_ms() // 1000)
end

--- Adds the next nonce to a reply to an authenticated caller, which saves it a round trip.
-- @param reply status, headers, body
-- @return the reply
function Nonces:add_to(reply)
	local nonce = self:issue()
	if nonce then reply.headers["X-KMS-Next-Nonce"] = nonce end
	return reply
end

--- Nonces issued since the start.
function Nonces:issued()
	return self.native:issued()
end

--- Nonces issued within their lifetime, used or not.
function Nonces:out()
	return self.native:out(self.mono_ms() // 1000)
end

--- @param deps native: native.nonces; mono_ms
function M.new(deps)
	return setmetatable(needs.take(deps, "native mono_ms"), Nonces)
end

return M
