--- Writes replies of the HTTP server.

local native = require("kms_native")

local M = {}

--- The head of a reply, followed by the body where one is given.
-- @param status  200 to 599
-- @param headers  name = text, or nil; Content-Type defaults to application/json
-- @param length  bytes of the body
-- @param close  whether the connection closes after this reply
-- @param body  text to append, or nil
-- @return text; throws for an invalid status, name or value
M.head = native.http_head

--- The body of an error (docs/protocol.md section 2).
-- @param code, message  texts without characters that JSON escapes
-- @return JSON
function M.error_body(code, message)
	return ('{"code":"%s","message":"%s"}'):format(code, message)
end

return M
