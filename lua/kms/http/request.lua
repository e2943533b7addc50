--- A request as its handler sees it. Fields:
--   number       counts the requests of the server
--   method
--   path         raw: its percent-escapes are valid, and not decoded
--   query        raw, or nil
--   remote       the TCP peer's address; "unix" on a Unix socket
--   caller       { uid, pid } on a Unix socket, or nil
--   head         the parser, which C functions take
--   keep_alive, has_body
--   length       announced bytes of the body: 0 without one, false for a chunked one
--   rare_headers whether it has If-Match, If-None-Match or Content-Encoding

local M = {}

local LONG_BYTES = 4096 -- of a target whose copy in C is freed at once

local Request = {}
Request.__index = Request

-- Codes of kms.base.err by the HTTP statuses that reading a body can end with.
local CODES = {
	[400] = "ERR_BAD_REQUEST", [408] = "ERR_REQUEST_TIMEOUT", [413] = "ERR_TOO_LARGE", [429] = "ERR_RATE",
	[503] = "ERR_BUSY",
}

--- What a client is told whose body is too large.
-- @param limit  most bytes of the body
function M.too_large(limit)
	return ("the body is larger than the %d bytes allowed"):format(limit)
end

--- The id of this request in the logs.
function Request:id()
	return self.conn.server.id_prefix .. self.number
end

--- A header's value.
-- @param name  in any case
-- @return text (several joined with ", ") or nil, number of headers of that name
function Request:header(name)
	return self.head:header(name)
end

--- The host that the request is for, with its port: its target's where that names one, else its Host header's.
-- @return text or nil
function Request:host()
	return self.head:host()
end

--- Collects the body in C, where functions of kms_native find it by `head`; yields until it is complete.
-- Sends "100 Continue" where the client waits for it.
-- @param limit  longest body in bytes; a longer announced one is refused before a byte is read
-- @param caller  text that tells callers apart: each has a share of the memory of bodies; nil: no share
-- @param is_member  whether the caller is a member: memory is reserved for them
-- @return true | nil, message, code: ERR_TOO_LARGE, ERR_RATE (the caller's share), ERR_BUSY (memory of all bodies),
--   ERR_REQUEST_TIMEOUT, ERR_BAD_REQUEST (malformed, or the client has gone)
function Request:read_body(limit, caller, is_member)
	if not self.has_body then return true end
	local event, status, _, message = self.conn:read_body(limit, caller, is_member)
	if event == "body" then
		self.complete = true
		return true
	end
	if status == 413 then message = M.too_large(limit) end
	return nil, message, CODES[status]
end

--- Waits until the body's first bytes have arrived, without reading it: functions of kms_native find them by `head`.
-- Yields. A body that is announced as shorter is refused; a chunked one may turn out to be.
-- @param bytes  how many, at most 64
-- @return true | nil, message, code: as read_body
function Request:await_front(bytes)
	if self.length and self.length < bytes then return nil, "the body is too short", "ERR_TRUNCATED" end
	local ok, status, _, message = self.conn:await_front(bytes)
	if ok then return true end
	return nil, message, CODES[status]
end

--- Lets later requests of this connection for a route pass the limits by address: its client has proven who it is.
-- @param route name of the route; nil: it has not, or not any more
function Request:exempt(route)
	self.conn.exempt = route
end

--- Whether requests of this connection for a route pass the limits by address.
function Request:is_exempt(route)
	return self.conn.exempt == route
end

--- Whether the client waits for "100 Continue" before it sends its body.
function Request:waits_for_continue()
	return not self.continued and self.head:expects_continue()
end

--- Frees what it holds, once its reply is made: the client may take its time to read that, and the connection keeps the
-- record.
function Request:release()
	self.replied = true
	local length = #self.path + (self.query and #self.query or 0)
	if self.has_body or length > LONG_BYTES then self.head:release() end
	self.path, self.query = false, false
end

--- Begins the next request of a connection. Its record is filled again: a new one for each would cost a small request
-- 6 % of its time. Handlers must not keep it.
-- @param request  the connection's last one, whose reply is sent; nil: there was none
-- @param conn  kms.http.connection; the other parameters are those of the parser's event "request"
-- @return request
function M.begin(request, conn, number, method, path, query, keep_alive, has_body, rare_headers, length)
	request = request or setmetatable({
		conn = conn, remote = conn.address, caller = conn.caller, head = conn.parser,
		number = false, method = false, path = false, query = false, keep_alive = false, has_body = false,
		rare_headers = false, length = false,
		complete = false, broken = false, continued = false, replied = false, close = false, pause_s = false,
	}, Request)
	request.number, request.method, request.path, request.query = number, method, path, query
	request.keep_alive, request.has_body, request.rare_headers = keep_alive, has_body, rare_headers
	request.length = length or false
	request.complete, request.broken, request.continued, request.replied = false, false, false, false
	request.close, request.pause_s = false, false
	return request
end

return M
