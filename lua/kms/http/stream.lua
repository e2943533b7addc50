--- The socket side of a connection of the HTTP server: its phase, reading on and off, sending,
-- closing. kms.http.connection builds on it.

local uv = require("luv")
local loop = require("kms.base.loop")

local M = {}

local LINGER_BYTES = 262144 -- thrown away at the most before a connection is closed
local WRITING = { "write" }
local SLICE_BYTES = 262144 -- of a body that is sent piece by piece

local Stream = {}

--- Begins a phase (kms.http.timeouts).
function Stream:enter(phase)
	self.server.connections:enter(self, phase, uv.now())
end

function Stream:start_reading()
	if self.reading or self.eof then return end
	self.reading = true
	self.client:read_start(self.on_read)
end

function Stream:stop_reading()
	if not self.reading then return end
	self.reading = false
	self.client:read_stop()
end

--- Resumes the handler that waits for a body.
function Stream:wake(...)
	local co = self.reader
	self.reader = nil
	loop.resume(co, ...)
end

--- Frees the parser, unless a request runs: a job of it may still read there.
function Stream:drop_parser()
	if self.request or not self.parser then return end
	self.parser:close()
	self.parser = nil
end

-- Gives back what the connection's unsent answer held of the server's memory.
local function release(self)
	if not self.held then return end
	self.server.held = self.server.held - self.held
	self.held = nil
end

-- Counts an answer that waits for its client. Where all of them would hold more than the server
-- may, the connections that have waited longest are cut: a client that never reads is among them.
-- Returns false where that is this one, which has sent pieces of its answer before.
local function hold(self, bytes)
	local server = self.server
	while not self.closed and server.held > 0 and server.held + bytes > server.max_held do
		server.connections:oldest(WRITING):close(true)
	end
	if self.closed then return false end
	self.held, server.held = bytes, server.held + bytes
	return true
end

--- Closes at once. A request that runs goes on, its answer is dropped.
-- @param reset  what was not sent is dropped by the kernel too
function Stream:close(reset)
	if self.closed then return end
	self.closed = true
	-- A Unix socket has no such thing: what was not read goes with it.
	if reset and self.client.close_reset then self.client:close_reset() else self.client:close() end
	release(self)
	self.server:forget(self)
	self:drop_parser()
	if self.reader then self:wake("refused", 400, "bad_request", "connection closed") end
end

--- Nothing more is answered: lets the client read what it was sent, then closes.
function Stream:linger()
	self:drop_parser()
	if self.closed then return end
	if self.eof then return self:close() end
	self.lingered = 0
	self:enter("linger")
	self.client:shutdown(loop.guard(function() end))
	self:start_reading()
end

--- Takes what arrives while lingering.
function Stream:discard(chunk)
	self.lingered = self.lingered + #chunk
	if self.lingered > LINGER_BYTES then self:close() end
end

-- What is left of `bytes` (text, or a list of it) behind the first `sent` ones.
local function unsent(bytes, sent)
	local rest = {}
	for _, part in ipairs(type(bytes) == "table" and bytes or { bytes }) do
		if sent < #part then rest[#rest + 1] = sent > 0 and part:sub(sent + 1) or part end
		sent = math.max(0, sent - #part)
	end
	return rest
end

--- Writes what the socket takes; where that is not all, the connection waits and reads nothing.
-- @param bytes  text, or a list of it; @param length  of all of it
-- @param on_sent  called once with self, also where the connection was closed over it
function Stream:send(bytes, length, on_sent)
	local sent, _, failure = self.client:try_write(bytes)
	if not sent and failure ~= "EAGAIN" then self:close() end
	if self.closed or sent == length then return on_sent(self) end
	self:stop_reading()
	if not hold(self, length - (sent or 0)) then return on_sent(self) end
	self:enter("write")
	self.client:write(unsent(bytes, sent or 0), loop.guard(function(unwritten)
		release(self)
		if unwritten then self:close() end
		on_sent(self)
	end))
end

--- Writes a head and a body that stays outside Lua, slice by slice, the next one when the socket
-- has taken the one before. Others have their turn in between.
-- @param source  len() in bytes, slice(from, count) -> text (from 1), close()
-- @param on_sent  as for send
function Stream:send_source(head, source, on_sent)
	local at, length = 0, source:len()
	local function next_slice()
		local ok, slice
		if not self.closed and at < length then
			ok, slice = loop.try(source.slice, source, at + 1, math.min(SLICE_BYTES, length - at))
			-- Its head is out: all that is left is to cut it off.
			if not ok then self:close(true) end
		end
		if not ok then
			source:close()
			return on_sent(self)
		end
		at = at + #slice
		self:send(slice, #slice, function() loop.defer(next_slice) end)
	end
	self:send(head, #head, next_slice)
end

M.Stream = Stream

return M
