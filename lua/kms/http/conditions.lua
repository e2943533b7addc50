--- Conditional requests (RFC 9110 section 13). Nothing here has an entity tag or a date: conditions on dates are
-- ignored, as the RFC says for that case, but If-Match of a tag is false, and so is `If-None-Match: *`. A client that
-- makes its write depend on one of them must not see it done regardless: whether a record exists is not known
-- here, so `If-Match: *` holds only for what is read.

local err = require("kms.base.err")

local M = {}

local SAFE = { GET = true, HEAD = true }

--- Whether a condition of the request is false.
-- @param request kms.http.request
function M.failed(request)
	if not request.rare_headers then return false end
	local match, none = request:header("if-match"), request:header("if-none-match")
	local matches = match == nil or match == "*" and SAFE[request.method]
	return not matches or none == "*"
end

--- The reply to a request whose condition is false.
function M.refusal()
	return err.reply("ERR_PRECONDITION", "nothing here has an entity tag, and no write can depend on one")
end

--- Heeds the conditions of a GET or HEAD, once its reply is known: they count only where that is a success.
-- @return the reply, or another one in its place
function M.heed(request, reply)
	if reply.status ~= 200 or not SAFE[request.method] or not M.failed(request) then return reply end
	if type(reply.body) ~= "string" then reply.body:close() end
	local other = M.refusal()
	if not request:header("if-match") then other = { status = 304, headers = {}, body = "" } end
	other.headers["X-KMS-Next-Nonce"] = reply.headers["X-KMS-Next-Nonce"]
	return other
end

return M
