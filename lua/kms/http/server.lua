--- The HTTP/1.1 server: accepts connections within limits, calls the handler of each request in its own
-- coroutine, stops in an orderly way. Connections are in kms.http.connection.

local uv = require("luv")
local admission = require("kms.http.admission")
local connection = require("kms.http.connection")
local connections = require("kms.http.connections")
local limits = require("kms.config.limits")
local listener = require("kms.http.listener")
local loop = require("kms.base.loop")
local native = require("kms_native")
local stream = require("kms.http.stream")
local turns = require("kms.http.turns")

local M = {}

local Server = {}
Server.__index = Server

local PHASES = { "first", "head", "idle", "busy", "body", "write", "pause", "drain", "linger" }
local WAITING = { "first", "head", "idle", "pause" } -- without a request that runs
local BODY = { "body" }
local BACKLOG = 4096
local PACE_CHECK_MS = 250 -- between two looks at the pace of bodies
local LINGER_MS = 2000
local PAUSE_MS = 1000 -- pauses are whole seconds (kms.http.connection)
local RESERVED_DESCRIPTORS = 32 -- for everything but clients' connections

-- The process's limit of file descriptors.
local function descriptor_limit()
	local file = io.open("/proc/self/limits")
	if not file then return math.huge end
	local soft = file:read("a"):match("Max open files%s+(%d+)")
	file:close()
	return tonumber(soft) or math.huge
end

local function refuse(self, conn, status, code, message)
	self:note_refusal(status)
	conn:refuse(status, code, message)
end

local function accept(self, failure)
	if failure then return admission.warn(self, "cannot accept connections", { reason = failure }) end
	local client, address, caller = self.source:accept()
	if not client then return end
	self.accepted = self.accepted + 1
	local conn = connection.new(self, client, address, caller)
	if not admission.has_room(self, client) then
		admission.warn(self, "too many connections", { connections = self.connections.count })
		return refuse(self, conn, 503, "service_unavailable", "too many connections")
	end
	if not admission.count_address(self, conn) then
		return refuse(self, conn, 429, "rate_limited", "too many connections from this address")
	end
	if self.admit and not self.admit(caller) then return refuse(self, conn, 403, "forbidden", "not for this user") end
	conn:open()
end

--- Ends it once no connection and no request is left; for kms.http.connection, which counts `running`.
function Server:check_stopped()
	if not self.stopping or self.stopped then return end
	if (self.connections.count > 0 or self.running > 0) and not self.cut then return end
	self.stopped = true
	loop.close(self.sweeper)
	loop.close(self.deadline)
	loop.close(self.sigpipe)
	if self.turns then self.turns:close() end
	if self.slices then self.slices:finish() end -- replies that were cut still have a turn, which frees them
	if self.on_stopped then self.on_stopped() end
end

--- For kms.http.connection: a connection was closed.
function Server:forget(conn)
	self.connections:leave(conn)
	admission.discount_address(self, conn)
	self:check_stopped()
end

--- For kms.http.connection: input was refused before it was a complete request.
function Server:note_refusal(status)
	self.refused[status] = (self.refused[status] or 0) + 1
end

--- For kms.http.connection: a handler threw an error.
function Server:note_broken()
	self.broken = self.broken + 1
end

-- Accepts connections from a listener (kms.http.listener, or nil and message). Returns true | nil, message.
local function take_from(self, source, message)
	if not source then return nil, message end
	local ok
	ok, message = source.handle:listen(BACKLOG, loop.guard(function(failure) accept(self, failure) end))
	if not ok then
		source:close()
		return nil, message
	end
	self.source = source
	self.descriptors = descriptor_limit()
	self.max_descriptor = self.descriptors - math.min(RESERVED_DESCRIPTORS, self.descriptors // 4)
	self.turns, self.slices = turns.new(connection.begin), stream.new_slices()
	self.sigpipe = loop.on_signal("sigpipe")
	self.sweeper = assert(uv.new_timer())
	return true
end

-- Ends connections that have timed out, and bodies that arrive too slowly.
local function sweep(self)
	local now = native.mono_ms()
	self.connections:sweep(now, function(conn, phase) conn:late(phase) end)
	self.connections:each(BODY, function(conn) conn:check_pace(now) end)
end

--- Listens on a TCP port.
-- @param host  address; @param port  0: any free port
-- @return true | nil, message
function Server:listen(host, port)
	return take_from(self, listener.tcp(host, port))
end

--- Listens on a Unix socket.
-- @return true | nil, message
function Server:listen_unix(path)
	return take_from(self, listener.unix(path))
end

--- The port, or nil.
function Server:port()
	return self.source and self.source:port()
end

--- The numbers of connections and of running requests.
function Server:counts()
	return self.connections.count, self.running
end

--- Counts since the start: { accepted: connections; refused: HTTP status -> number of times that input was
-- refused before it was a complete request; broken: handlers that threw }.
function Server:totals()
	return { accepted = self.accepted, refused = self.refused, broken = self.broken }
end

--- Stops the server: it accepts no more connections, closes those without a running request, and sends the
-- replies of running ones with "Connection: close". It cuts the rest after
-- SHUTDOWN_TIMEOUT_SECONDS.
-- @param on_stopped  called once when no connection is left
function Server:stop(on_stopped)
	if self.stopping then return end
	self.stopping, self.on_stopped = true, on_stopped
	if self.source then self.source:close() end
	self.source = nil
	self.connections:each(WAITING, function(conn) conn:close() end)
	self.deadline = loop.after(self.shutdown_ms, function()
		self.cut = true
		self.connections:each(PHASES, function(conn) conn:close(true) end)
		self:check_stopped()
	end)
	self:check_stopped()
end

-- Bounds the memory of all request bodies.
local function bound_bodies(config)
	local total = config.MAX_BODY_MEMORY_BYTES
	assert(native.http_body_limits(total, config.MAX_APP_BODY_MEMORY_BYTES or total, limits.body_reserves(total)))
end

--- A server that is not listening yet.
-- @param options
--   handler(request) -> status, headers, body, pause_s: runs in a coroutine; an error in it gives a 500. request:
--     kms.http.request; headers: name = value, or nil; body: text, nil, or a source as Stream:send_source takes
--     it, which is always closed; pause_s: seconds for which the connection is not read after the reply, or nil
--   config: MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, MAX_HEADER_BYTES, MAX_BODY_MEMORY_BYTES and the
--     FIRST_BYTE, HEADER, BODY, IDLE, WRITE and SHUTDOWN _TIMEOUT_SECONDS; MAX_APP_BODY_MEMORY_BYTES and
--     MIN_BODY_BYTES_PER_SECOND may be absent: no limit
--   max_line_bytes: of a request line, or nil: 8192
--   exempt_loopback: whether loopback addresses have no limit of connections and of memory for long request lines
--   admit(caller) -> whether that caller ({ uid, pid }) of a Unix socket is served; or nil
--   log: kms.base.log, or nil
-- @return server
function M.new(options)
	local config = options.config
	bound_bodies(config)
	local self
	self = setmetatable({
		handler = options.handler, log = options.log, exempt_loopback = options.exempt_loopback, admit = options.admit,
		max_connections = config.MAX_CONNECTIONS, max_per_address = config.MAX_CONNECTIONS_PER_ADDRESS,
		max_per_network = admission.max_per_network(config.MAX_CONNECTIONS, config.MAX_CONNECTIONS_PER_ADDRESS),
		max_header_bytes = config.MAX_HEADER_BYTES, max_line_bytes = options.max_line_bytes,
		shutdown_ms = math.floor(config.SHUTDOWN_TIMEOUT_SECONDS * 1000),
		connections = connections.new(PHASES, {
			first = config.FIRST_BYTE_TIMEOUT_SECONDS * 1000, head = config.HEADER_TIMEOUT_SECONDS * 1000,
			idle = config.IDLE_TIMEOUT_SECONDS * 1000, body = config.BODY_TIMEOUT_SECONDS * 1000,
			write = config.WRITE_TIMEOUT_SECONDS * 1000, drain = config.BODY_TIMEOUT_SECONDS * 1000, linger = LINGER_MS,
			pause = PAUSE_MS,
		}, { body = PACE_CHECK_MS }, function(ms)
			if not self.stopped then self.sweeper:start(math.ceil(ms), 0, loop.guard(sweep, self)) end
		end),
		min_body_pace = config.MIN_BODY_BYTES_PER_SECOND or 0,
		held = 0, max_held = config.MAX_BODY_MEMORY_BYTES, -- bytes of replies that clients have not taken yet
		per_client = { addresses = {}, networks = {} }, stopping = false, running = 0, last_number = 0, -- of requests
		accepted = 0, refused = {}, broken = 0,
		id_prefix = ("%08x-"):format(string.unpack("I4", uv.random(4))),
	}, Server)
	return self
end

return M
