--- A request's parser with a collected body, as a handler of the HTTP server has it.

local native = require("spec.support.native")

local FRONT_BYTES = 64 -- of the body, that arrive with the head
local CHUNK_BYTES = 65536

--- @param body text
-- @param headers further ones, by name; nil: none
-- @param is_unread whether the body is not collected yet
-- @return parser, function that collects the body (is_unread)
return function(body, headers, is_unread)
	local parser, lines = assert(native.http_parser(8192)), {}
	for name, value in pairs(headers or {}) do lines[#lines + 1] = ("%s: %s\r\n"):format(name, value) end
	local head = ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n"):format(#body, table.concat(lines))
	assert(parser:feed(head .. body:sub(1, FRONT_BYTES)) == "request")
	local function read()
		local event = parser:read_body(#body)
		for at = FRONT_BYTES + 1, #body, CHUNK_BYTES do event = parser:feed(body:sub(at, at + CHUNK_BYTES - 1)) end
		assert(event == "body")
	end
	if is_unread then return parser, read end
	read()
	return parser
end
