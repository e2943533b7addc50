--- The socket of a connection of the HTTP server: its phase, reading, sending, closing.
-- kms.http.connection inherits from it.

local loop = require("kms.base.loop")
local turns = require("kms.http.turns")

local M = {}

local LINGER_BYTES = 262144 -- most input that is discarded before the connection is closed
local WRITING = { "write" }
-- Of a body that is sent or read slice by slice: about 20 us.
local SLICE_BYTES = 65536
local SLICES_NS = 250000 -- of slices at a time, before other events

local Stream = {}

--- Begins a phase (kms.http.connections).
function Stream:enter(phase)
	self.server.connections:enter(self, phase)
end

--- Reads input, unless it has ended.
function Stream:start_reading()
	if self.reading or self.eof then return end
	self.reading = true
	self.client:read_start(self.on_read)
end

--- Leaves input in the kernel's buffer.
function Stream:stop_reading()
	if not self.reading then return end
	self.reading = false
	self.client:read_stop()
end

--- Resumes the handler that waits for a body with the parser's event.
function Stream:wake(...)
	local co = self.reader
	self.reader = false
	loop.resume(co, ...)
end

--- Frees the parser, unless a request runs: a job of the request may still read from it.
function Stream:drop_parser()
	if self.request or not self.parser then return end
	self.parser:close()
	self.parser = nil
end

-- Gives back the memory that the connection's unsent reply held.
local function release(self)
	if not self.held then return end
	self.server.held = self.server.held - self.held
	self.held = nil
end

-- Counts the unsent bytes of a reply. Where all unsent replies would exceed the server's limit, closes the
-- connections that have waited longest: clients that never read are among them. Returns false
-- where it closed this one, which can be while a reply is sent slice by slice.
local function hold(self, bytes)
	local server = self.server
	while not self.closed and server.held > 0 and server.held + bytes > server.max_held do
		local oldest = server.connections:oldest(WRITING)
		if not oldest then break end -- the others have not met a client that is slow
		oldest:close(true)
	end
	if self.closed then return false end
	self.held, server.held = bytes, server.held + bytes
	return true
end

--- Closes at once. A running request continues; its reply is dropped.
-- @param reset  whether the kernel drops unsent bytes too
function Stream:close(reset)
	if self.closed then return end
	self.closed, self.socket = true, false -- its number may be another connection's now
	-- A Unix socket cannot be reset; its unread bytes are dropped in any case.
	if reset and self.client.close_reset then self.client:close_reset() else self.client:close() end
	release(self)
	self.server:forget(self)
	self:drop_parser()
	if self.reader then self:wake("refused", 400, "bad_request", "connection closed") end
end

--- Lets the client read the last reply, then closes.
function Stream:linger()
	self:drop_parser()
	if self.closed then return end
	if self.eof then return self:close() end
	self.lingered = 0
	self:enter("linger")
	self.client:shutdown(loop.guard(function() end))
	self:start_reading()
end

--- Discards input while lingering.
function Stream:discard(chunk)
	self.lingered = self.lingered + #chunk
	if self.lingered > LINGER_BYTES then self:close() end
end

-- The rest of `bytes` (text, or a list of it) after the first `sent` ones, as a list.
local function unsent(bytes, sent)
	local rest = {}
	for _, part in ipairs(type(bytes) == "table" and bytes or { bytes }) do
		if sent < #part then rest[#rest + 1] = sent > 0 and part:sub(sent + 1) or part end
		sent = math.max(0, sent - #part)
	end
	return rest
end

--- Sends bytes. Until the client has taken all of them, the connection reads nothing.
-- @param bytes  text, or a list of it; @param length  number of bytes
-- @param on_sent  called once with self, also when the connection was closed meanwhile
function Stream:send(bytes, length, on_sent)
	local sent, _, failure = self.client:try_write(bytes)
	if not sent and failure ~= "EAGAIN" then self:close() end
	if self.closed or sent == length then return on_sent(self) end
	self:stop_reading()
	if not self.holds_source and not hold(self, length - (sent or 0)) then return on_sent(self) end
	self:enter("write")
	self.client:write(unsent(bytes, sent or 0), loop.guard(function(unwritten)
		if not self.holds_source then release(self) end
		if unwritten then self:close() end
		on_sent(self)
	end))
end

--- Sends what kms.http.reply's send() has left of a reply; nil: nothing. on_sent: as for send()
function Stream:send_rest(rest, on_sent)
	if not rest then return on_sent(self) end
	self:send(rest, #rest, on_sent)
end

--- Sends a head and a body that stays outside Lua, slice by slice: each when the client has taken the one
-- before and it is the connection's turn (kms.http.turns), so that large replies do not delay small requests.
-- @param source  len() -> bytes; slice(from, count) -> text, from 1; close(); optional: send(socket, from, count) ->
-- number of bytes that the descriptor has taken
-- @param on_sent  as for send()
function Stream:send_source(head, source, on_sent)
	local at, length = 0, source:len()
	local function finish()
		source:close()
		if self.holds_source then release(self) end
		self.holds_source = false
		return on_sent(self)
	end
	-- A reply in memory counts whole until its last slice is sent, however slowly the client reads. Snapshots, which are
	-- no kms.body, have a limit of their own.
	if type(source) == "userdata" and length > SLICE_BYTES then
		if not hold(self, length) then return finish() end
		self.holds_source = true
	end
	local next_slice
	local function wait_turn()
		if self.closed then return loop.defer(next_slice) end
		self.server.slices:add(self.path, next_slice)
	end
	-- Sends what the socket takes at once of a slice in C. Returns the rest, which waits like any text.
	local function send_slice()
		local count = math.min(SLICE_BYTES, length - at)
		local sent = source.send and source:send(self.client:fileno(), at + 1, count) or 0
		local rest = sent < count and source:slice(at + sent + 1, count - sent) or ""
		at = at + sent + #rest
		return rest
	end
	function next_slice()
		local ok, rest
		if not self.closed and at < length then
			ok, rest = loop.try(send_slice)
			-- The head is sent, so the client can only be told by a reset.
			if not ok then self:close(true) end
		end
		if not ok then return finish() end
		if rest == "" then return wait_turn() end
		self:send(rest, #rest, wait_turn)
	end
	self:send(head, #head, next_slice)
end

local function give_slice(slice) slice() end

--- The turns of slices, for the field `slices` of a server.
function M.new_slices()
	return turns.new(give_slice, SLICES_NS)
end

M.Stream = Stream

return M
