--- Writes replies of the HTTP server.

local native = require("kms_native")

local M = {}

local MOST_IN_ONE = 65536 -- bytes of a body that is sent with its head: no more than a slice (kms.http.stream)

--- The head of a reply.
-- @param status  200 to 599
-- @param headers  name = text, or nil; Content-Type defaults to application/json
-- @param length  bytes of the body
-- @param close  whether the connection closes after this reply
-- @return text; throws for an invalid status, name or value
M.head = native.http_head

--- The bytes of a body that is sent with its head in one call: then the client, too, reads both at once.
-- @param body  text, a source (kms.http.stream), or nil: none
-- @return number | nil: it is sent slice by slice; throws for anything else
function M.length_in_one(body)
	local kind = type(body)
	if kind == "string" then return #body end
	if kind == "nil" then return 0 end
	if kind == "table" then return nil end
	if kind ~= "userdata" then error("a body is text or a source, not " .. kind) end
	local length = body:len()
	return length <= MOST_IN_ONE and length or nil
end

--- Sends as much of a reply as a socket takes now.
-- @param status, headers, length, close  as for head()
-- @param socket  descriptor; @param body  text, or a body handle, which stays open; "" where only its length is sent,
--   as for HEAD
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
