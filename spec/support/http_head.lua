--- A request's parser with a collected body, as a handler of the HTTP server has it.

local native = require("spec.support.native")

--- @param body text
-- @return parser
return function(body)
	local parser = assert(native.http_parser(8192))
	local event = parser:feed(("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(#body))
	assert(event == "request")
	event = parser:read_body(#body)
	for at = 1, #body, 65536 do event = parser:feed(body:sub(at, at + 65535)) end
	assert(event == "body")
	return parser
end
