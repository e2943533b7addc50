--- Answers of the HTTP server.

local native = require("kms_native")

local M = {}

--- The head of an answer, and behind it the body where one is given.
-- @param status  200 to 599
-- @param headers  name = text, or nil; Content-Type is application/json unless it says otherwise
-- @param length  bytes of the body
-- @param close  whether the connection ends with this answer
-- @param body  what is sent behind the head, or nil
-- @return text; throws for what is no status, name or value
M.head = native.http_head

--- The body of an error (docs/protocol.md section 2).
-- @param code, message  our own texts, without characters that JSON escapes
function M.error_body(code, message)
	return ('{"code":"%s","message":"%s"}'):format(code, message)
end

return M
