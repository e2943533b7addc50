--- The body of a connection's running request: collected in C, within a pace. kms.http.connection builds on it.

local M = {}

local PACE_MS = 5000 -- over which the pace of a body is measured
local SLICE_BYTES = 65536 -- as many as luv reads at a time
local CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n"

--- Collects the body in C; yields (kms.http.request).
-- @param conn  kms.http.connection
-- @param limit, caller, is_member  as for Request:read_body
-- @return "body" | "refused", HTTP status, wire code, message
function M.read(conn, limit, caller, is_member)
	if conn.closed then return "refused", 400, "bad_request", "connection closed" end
	local event, status, code, message = conn.parser:read_body(limit, caller, is_member)
	if event then return event, status, code, message end
	if conn.request:waits_for_continue() then conn.client:try_write(CONTINUE) end
	conn.request.continued = true
	if conn.eof then return "refused", 400, "bad_request", "the body is incomplete" end
	conn:enter("body")
	conn.pace_since, conn.pace_bytes = conn.since, 0
	conn:start_reading()
	conn.reader = coroutine.running()
	event, status, code, message = coroutine.yield()
	if not conn.closed then conn:enter("busy") end
	return event, status, code, message
end

--- Waits until a body's first bytes have arrived, or its end, before it is read; yields (kms.http.request).
-- @return true | nil, HTTP status, wire code, message
function M.await_front(conn, bytes)
	local event, status, code, message
	while conn.parser and not conn.parser:has_front(bytes) do
		if conn.closed or conn.eof then return nil, 400, "bad_request", "the body is incomplete" end
		if conn.request:waits_for_continue() then conn.client:try_write(CONTINUE) end
		conn.request.continued = true
		if conn.phase ~= "body" then
			conn:enter("body")
			conn.pace_since, conn.pace_bytes = conn.since, 0
		end
		conn:start_reading()
		conn.reader, conn.wakes_early = coroutine.running(), true
		event, status, code, message = coroutine.yield()
		conn.wakes_early = false
		if event then break end
	end
	if conn.phase == "body" then conn:enter("busy") end
	if event then return nil, status, code, message end
	return true
end

local read_in_turn

-- Reads the next slice in C. More is there where it is a full one, else luv tells when more comes, or the end.
local function read_slice(conn)
	if conn.closed or not conn.waits_to_read then return end
	conn.waits_to_read = false
	if conn.phase ~= "body" then return end
	local bytes, event, a, b, c = conn.parser:read(conn.socket, SLICE_BYTES)
	conn.pace_bytes = conn.pace_bytes + bytes
	if event or conn.wakes_early then return conn:wake(event, a, b, c) end
	if bytes == SLICE_BYTES then return read_in_turn(conn) end
	conn:start_reading()
end

-- Reads no more before it is the connection's turn: luv would go on up to 32 times as long as each slice is full.
function read_in_turn(conn)
	conn:stop_reading()
	if conn.waits_to_read then return end
	conn.waits_to_read = true
	conn.server.slices:add(conn.path, function() read_slice(conn) end)
end

--- Takes note of bytes that luv has read for the body.
function M.took(conn, bytes)
	conn.pace_bytes = conn.pace_bytes + bytes
	if bytes >= SLICE_BYTES then read_in_turn(conn) end
end

--- Ends the body: its handler gets a 408.
function M.stop(conn, message)
	conn.request.broken = true
	conn:enter("busy")
	conn:wake("refused", 408, "bad_request", message)
end

--- Ends a body that arrives more slowly than MIN_BODY_BYTES_PER_SECOND: it holds memory that others need.
-- @param now  monotonic time in milliseconds
function M.check_pace(conn, now)
	local since_ms = now - conn.pace_since
	if since_ms < PACE_MS then return end
	if conn.pace_bytes * 1000 < conn.server.min_body_pace * since_ms then
		return M.stop(conn, "the body arrives too slowly")
	end
	conn.pace_since, conn.pace_bytes = now, 0
end

return M
