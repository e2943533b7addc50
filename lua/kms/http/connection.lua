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

local Conn = setmetatable({}, { __index = http_stream.Stream })
Conn.__index = Conn

-- Sends an error and closes the connection.
local function refuse(self, status, code, message)
	self:stop_reading()
	local bytes, length = http_reply.bytes(status, nil, http_reply.error_body(status, code, message), true)
	self:send(bytes, length, self.linger)
end

local function wait_for_input(self, ahead)
	if self.eof or self.server.stopping then return self:close() end
	if ahead == 0 then
		self:enter("idle")
	elseif self.phase ~= "head" then
		self:enter("head")
	end
	self:start_reading()
end

-- Waits for the turn of the request that has arrived, or for that of the next one. While it waits, input is only
-- buffered.
local function await_turn(self)
	self.awaiting = true
	self:enter("busy")
	self.server.turns:add(self.path, self)
end

local function after_drain(self, event)
	if event == "body" then return await_turn(self) end
	if event == "refused" or self.eof then return self:linger() end
	self:enter("drain")
	self:start_reading()
end

-- Goes on behind a request that has its reply.
local function go_on(self, request)
	if not request.has_body or request.complete then return await_turn(self) end
	after_drain(self, self.parser:drain(DRAIN_BYTES))
end

-- Called when the reply is written.
local function finish(self)
	local request = self.request
	self.request = nil
	self.server:request_ended()
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

local function must_close(self, request)
	if not request.keep_alive or self.server.stopping or request.broken then return true end
	if not request.has_body or request.complete then return false end
	-- A client that got no "100 Continue" may not send its body.
	if request:waits_for_continue() then return true end
	return not self.parser:drainable(DRAIN_BYTES)
end

-- Sends a body that stays in C, slice by slice.
local function stream(self, request, status, headers, source, omit)
	local head = http_reply.head(status, headers, source:len(), request.close)
	request.replied = true
	if not omit then return self:send_source(head, source, finish) end
	source:close()
	self:send(head, #head, finish)
end

local function reply(self, request, status, headers, body, pause_s)
	if self.closed then
		if body and type(body) ~= "string" then body:close() end
		return finish(self)
	end
	if request.has_body then self.parser:release_body() end
	request.close = must_close(self, request)
	request.pause_s = pause_s and math.min(pause_s, MAX_PAUSE_S)
	body = body or ""
	local omit = request.method == "HEAD" or status == 204 or status == 304
	if type(body) == "userdata" or type(body) == "table" then return stream(self, request, status, headers, body, omit) end
	if type(body) ~= "string" then error("a body is text or a source, not " .. type(body)) end
	local bytes, length = http_reply.bytes(status, headers, body, request.close, omit)
	request.replied = true
	self:send(bytes, length, finish)
end

local function run(self, request)
	reply(self, request, self.server.handler(request))
end

-- Runs in a request's coroutine.
local function serve(self, request)
	if loop.try(run, self, request) then return end
	self.server:note_broken()
	if request.replied then return self:close() end
	-- The handler failed, or returned something that is not a reply.
	request.broken = true
	reply(self, request, 500, nil, http_reply.error_body(500, "internal_error", "internal error"))
end

local function start_request(self)
	self.server:request_begun()
	self:enter("busy")
	loop.launch(serve, self, self.request)
end

-- Handles an event of the parser while no request runs.
-- @param begin  function(self): what to do with a request that has arrived
local function step(self, begin, event, a, b, c, d, e)
	if event == "request" then
		self.request = http_request.new(self, self.server:next_number(), a, b, c, d, e)
		return begin(self)
	end
	if event == "refused" then
		self.server:note_refusal(a)
		return refuse(self, a, b, c)
	end
	return wait_for_input(self, a)
end

--- Of kms.http.turns: the connection's turn has come.
function Conn:turn()
	self.awaiting = false
	if self.closed then
		self.request = nil
		return self:drop_parser()
	end
	if self.request then return start_request(self) end
	step(self, start_request, self.parser:next())
end

-- Handles the parser's event for new input.
local function take(self, event, a, ...)
	if self.reader then
		if event then return self:wake(event, a, ...) end
	elseif self.request or self.awaiting then
		if not event and a > READ_AHEAD_BYTES then self:stop_reading() end
	elseif self.phase == "drain" then
		if event then after_drain(self, event) end
	else
		step(self, await_turn, event, a, ...)
	end
end

local function on_end(self)
	self.eof = true
	self:stop_reading()
	if self.reader then return self:wake("refused", 400, "bad_request", "the body is incomplete") end
	if not self.request and not self.awaiting then self:close() end
end

local function on_read(self, failure, chunk)
	if self.closed then return end
	if failure then return self:close() end
	if not chunk then return on_end(self) end
	if self.phase == "linger" then return self:discard(chunk) end
	if self.phase == "body" then http_body.count(self, #chunk) end
	if self.parser then take(self, self.parser:feed(chunk)) end
end

--- Collects the body of the running request (kms.http.body).
Conn.read_body = http_body.read

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
	local self = setmetatable({
		server = server, client = client, address = address, path = client_address.path(address), caller = caller,
	}, Conn)
	self.on_read = loop.guard(on_read, self)
	return self
end

return M
