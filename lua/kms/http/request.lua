--- A request as its handler sees it. Fields: number, method, path (raw: percent-escapes
-- are valid and not decoded), query (raw, or nil), remote (address of the peer, "unix" on a Unix
-- socket), caller ({ uid, pid } there, else nil), head (the parser, which C functions take),
-- keep_alive, has_body.

local M = {}

local Request = {}
Request.__index = Request

-- Codes of kms.base.err by the statuses that reading a body can end with.
local CODES = { [400] = "ERR_BAD_REQUEST", [408] = "ERR_REQUEST_TIMEOUT", [413] = "ERR_TOO_LARGE", [503] = "ERR_BUSY" }

--- What tells this request from all others in the logs.
function Request:id()
	return self.conn.server.id_prefix .. self.number
end

--- A header's value.
-- @param name  of any case
-- @return text, several joined with ", ", or nil; how many there are
function Request:header(name)
	return self.head:header(name)
end

--- Announced bytes of the body; 0 without one, nil when it is chunked.
function Request:content_length()
	return self.head:content_length()
end

--- Collects the body in C, where kms_native's functions find it by `head`; yields until it is
-- there. The client is told to go on where it waits for that.
-- @param limit  most bytes of it; an announced length beyond is refused before a byte is read
-- @return true | nil, HTTP status, code, message: ERR_TOO_LARGE, ERR_BUSY (memory of all bodies),
-- ERR_REQUEST_TIMEOUT, ERR_BAD_REQUEST (malformed, or the client left)
function Request:read_body(limit)
	if not self.has_body then return true end
	local event, status, _, message = self.conn:read_body(limit)
	if event == "body" then
		self.complete = true
		return true
	end
	return nil, status, CODES[status], message
end

--- Whether the client holds its body back until it is told to go on.
function Request:waits_for_continue()
	return not self.continued and self.head:expects_continue()
end

--- @param conn  kms.http.connection; then what the parser says of a request
function M.new(conn, number, method, path, query, keep_alive, has_body)
	return setmetatable({
		conn = conn, number = number, method = method, path = path, query = query, keep_alive = keep_alive,
		has_body = has_body, remote = conn.address, caller = conn.caller, head = conn.parser,
	}, Request)
end

return M
