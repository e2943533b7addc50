--- Writes replies of the HTTP server.

local native = require("kms_native")

local M = {}

local JOIN_BYTES = 16384 -- longest body that is sent in one string with its head

--- The head of a reply, followed by the body where one is given.
-- @param status  200 to 599
-- @param headers  name = text, or nil; Content-Type defaults to application/json
-- @param length  bytes of the body
-- @param close  whether the connection closes after this reply
-- @param body  text to append, or nil
-- @return text; throws for an invalid status, name or value
local head = native.http_head
M.head = head

--- The bytes of a reply. A large body is not copied.
-- @param omit  whether only the body's length is sent, as for HEAD; the other parameters are those of head()
-- @return text or a list of it, number of bytes
function M.bytes(status, headers, body, close, omit)
	local length = #body
	if length <= JOIN_BYTES and not omit then
		local joined = head(status, headers, length, close, body)
		return joined, #joined
	end
	local alone = head(status, headers, length, close)
	if omit then return alone, #alone end
	return { alone, body }, #alone + length
end

-- Reasons by HTTP status, where the wire code does not say as much.
local REASONS = {
	[400] = "malformed_request", [408] = "request_timeout", [413] = "too_large", [414] = "line_too_long",
	[417] = "unknown_expectation", [431] = "headers_too_large", [503] = "busy", [505] = "version_not_supported",
}

--- The body of an error that no handler replies to (docs/protocol.md section 2).
-- @param status  HTTP status; @param code, message  texts without characters that JSON escapes
-- @return JSON
function M.error_body(status, code, message)
	return ('{"code":"%s","reason":"%s","message":"%s"}'):format(code, REASONS[status] or code, message)
end

return M
