--- Writes replies of the HTTP server.

local native = require("kms_native")

local M = {}

--- The head of a reply.
-- @param status  200 to 599
-- @param headers  name = text, or nil; Content-Type defaults to application/json
-- @param length  bytes of the body
-- @param close  whether the connection closes after this reply
-- @return text; throws for an invalid status, name or value
M.head = native.http_head

--- Sends as much of a reply as a socket takes now.
-- @param status, headers, length, close  as for head()
-- @param socket  descriptor; @param body  text; "" where only its length is sent, as for HEAD
-- @return nil: all of it is sent | the rest, also where sending failed; throws as head()
M.send = native.http_send

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
