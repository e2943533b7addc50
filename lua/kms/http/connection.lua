--- One connection of the HTTP server: reads requests, runs their handlers one after the other, replies.
--
-- Its phases, each with a timeout (kms.http.server):
--   first   no byte has arrived yet
--   head    a request's head is arriving
--   idle    between two requests
--   busy    a handler runs (no timeout)
--   body    a handler waits for the body
--   write   the client takes the reply
--   pause   the client is beyond a limit: nothing is read or begun until it may go on
--   drain   an unread body is discarded
--   linger  the last reply is sent and the socket shut down; further input is discarded, since closing
--           with unread input would destroy the reply

local admission = require("kms.http.admission")
local client_address = require("kms.http.client_address")
local http_body = require("kms.http.body")
local http_reply = require("kms.http.reply")
local http_request = require("kms.http.request")
local http_stream = require("kms.http.stream")
local loop = require("kms.base.loop")
local native = require("kms_native")

local M = {}

local READ_AHEAD_BYTES = 16384 -- input buffered while a request runs, before reading stops
local DRAIN_BYTES = 65536 -- longest unread body that is discarded to keep a connection
local MAX_PAUSE_S = 10 -- longest time that a client beyond a limit is not read

local Conn = {}
Conn.__index = Conn
for name, method in pairs(http_stream.Stream) do Conn[name] = method end

-- Sends an error and closes the connection.
local function refuse(self, status, code, message)
	self:stop_reading()
	local body = http_reply.error_body(status, code, message)
	self:send_rest(http_reply.send(status, nil, #body, true, self.socket, body), self.linger)
end

local function wait_for_input(self, ahead)
	if self.eof or self.server.stopping then return self:close() end
	if ahead == 0 then
		-- An empty line before the first request is not one.
		if self.last_request then self.server.connections:enter(self, "idle") end
	elseif self.phase ~= "head" then
		self:enter("head")
	end
	if not self.reading then self:start_reading() end
end

-- Handles an event of the parser while there is no request. One that has arrived waits for its turn; input behind it is
-- only buffered.
local function step(self, event, a, b, c, d, e, f, g)
	local server = self.server
	if event == "request" then
		local number = server.last_number + 1
		server.last_number = number
		local request = http_request.begin(self.last_request, self, number, a, b, c, d, e, f, g)
		self.request, self.last_request = request, request
		server.connections:enter(self, "busy")
		return server.turns:add(self.path, self)
	end
	if event == "refused" then
		server:note_refusal(a)
		return refuse(self, a, b, c)
	end
	return wait_for_input(self, a)
end

local function after_drain(self, event)
	if event == "body" then return step(self, self.parser:next()) end
	if event == "refused" or self.eof then return self:linger() end
	self:enter("drain")
	self:start_reading()
end

-- Goes on behind a request that has its reply.
local function go_on(self, request)
	if not request.has_body or request.complete then return step(self, self.parser:next()) end
	after_drain(self, self.parser:drain(DRAIN_BYTES))
end

-- Called when the reply is written.
local function finish(self)
	local request, server = self.request, self.server
	self.request = false
	server.running = server.running - 1
	if server.stopping then server:check_stopped() end
	if self.closed then return self:drop_parser() end
	if request.close then return self:linger() end
	if not request.pause_s then return go_on(self, request) end
	self:stop_reading()
	self.paused = request
	self:enter("pause")
end

-- A second of a pause is over.
local function end_pause(self)
	local request = self.paused
	request.pause_s = request.pause_s - 1
	if request.pause_s > 0 then return self:enter("pause") end
	self.paused = nil
	go_on(self, request)
end

-- Whether an unread body is too much to discard.
local function must_close_unread(self, request)
	-- A client that got no "100 Continue" may not send its body.
	if request:waits_for_continue() then return true end
	return not self.parser:drainable(DRAIN_BYTES)
end

-- Sends a body that stays in C, slice by slice.
local function stream(self, request, status, headers, source, omit)
	local head = http_reply.head(status, headers, source:len(), request.close)
	request:release()
	if not omit then return self:send_source(head, source, finish) end
	source:close()
	self:send(head, #head, finish)
end

local function reply(self, request, status, headers, body, pause_s)
	if self.closed then
		if body and type(body) ~= "string" then body:close() end
		return finish(self)
	end
	local close = not request.keep_alive or self.server.stopping or request.broken
	if request.has_body then close = close or not request.complete and must_close_unread(self, request) end
	request.close, request.pause_s = close, pause_s and math.min(pause_s, MAX_PAUSE_S) or false
	local omit = request.method == "HEAD" or status == 204 or status == 304
	local length = http_reply.length_in_one(body)
	if not length then return stream(self, request, status, headers, body, omit) end
	-- Before the request is released: this throws for what is no reply.
	local rest = http_reply.send(status, headers, length, close, self.socket, not omit and body or "")
	request:release()
	if type(body) == "userdata" then body:close() end
	self:send_rest(rest, finish)
end

local function run(self, request)
	reply(self, request, self.server.handler(request))
end

-- Begins the request that has arrived, in a coroutine: its connection has its turn.
local function begin(self)
	local request, server = self.request, self.server
	local number = request.number
	if self.closed then
		self.request = false
		return self:drop_parser()
	end
	server.running = server.running + 1
	if loop.try(run, self, request) then return end
	server:note_broken()
	-- Behind the reply, the record may be that of the next request, which is not handled yet.
	if request.replied or request.number ~= number then return self:close() end
	-- The handler failed, or returned something that is not a reply.
	request.broken = true
	reply(self, request, 500, nil, http_reply.error_body(500, "internal_error", "internal error"))
end

-- Handles the parser's event for new input while there is a request, or while its body is drained.
local function take(self, event, a, b, c)
	if self.reader then
		if event or self.wakes_early then return self:wake(event, a, b, c) end
	elseif self.request then
		if not event and a > READ_AHEAD_BYTES then self:stop_reading() end
	elseif event then
		after_drain(self, event)
	end
end

local function on_end(self)
	self.eof = true
	self:stop_reading()
	if self.reader then return self:wake("refused", 400, "bad_request", "the body is incomplete") end
	if not self.request then self:close() end
end

local function on_read(self, failure, chunk)
	if self.closed then return end
	if failure then return self:close() end
	if not chunk then return on_end(self) end
	local phase = self.phase
	if phase == "linger" then return self:discard(chunk) end
	if phase == "body" then http_body.took(self, #chunk) end
	local parser = self.parser
	if not parser then return end
	if self.request or phase == "drain" then return take(self, parser:feed(chunk)) end
	step(self, parser:feed(chunk))
end

--- Collects the body of the running request, or waits for its beginning (kms.http.body).
Conn.read_body, Conn.await_front = http_body.read, http_body.await_front

--- Ends a body that arrives too slowly (kms.http.body).
Conn.check_pace = http_body.check_pace

--- Handles the timeout of a phase.
function Conn:late(phase)
	if phase == "pause" then return end_pause(self) end
	if phase == "body" then return http_body.stop(self, "the body did not arrive in time") end
	if phase == "head" then
		self.server:note_refusal(408)
		return refuse(self, 408, "bad_request", "the request did not arrive in time")
	end
	self:close(phase == "write")
end

--- Begins to read.
function Conn:open()
	local server = self.server
	local client = not admission.is_shared(server, self.address) and self.path[1] or nil
	local parser, message = native.http_parser(server.max_header_bytes, server.max_line_bytes, client)
	if not parser then return self:refuse(503, "service_unavailable", message) end
	self.parser = parser
	self:enter("first")
	self:start_reading()
end

--- Sends an error without reading anything, and closes.
function Conn:refuse(status, code, message)
	self:enter("linger")
	refuse(self, status, code, message)
end

--- @param server  kms.http.server
-- @param client  accepted luv handle
-- @param address  the peer's address; "unix" on a Unix socket
-- @param caller  { uid, pid } on a Unix socket, or nil
-- @return connection, which does nothing before open() or refuse()
function M.new(server, client, address, caller)
	-- Fields that each request looks at are false instead of nil, which would be looked for in Conn too: 2 % of a small
	-- request.
	local self = setmetatable({
		server = server, client = client, socket = client:fileno(), address = address,
		path = client_address.path(address), caller = caller, eof = false, closed = false,
		request = false, reader = false, wakes_early = false, reading = false, waits_to_read = false,
	}, Conn)
	self.on_read = loop.guard(on_read, self)
	return self
end

--- Begins the next request of a connection whose turn it is (kms.http.turns).
M.begin = begin

return M
