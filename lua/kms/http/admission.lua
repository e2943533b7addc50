--- Decides whether a server (kms.http.server) accepts one more connection: limits of all
-- connections, of those from one address, and of file descriptors.

local uv = require("luv")
local client_address = require("kms.http.client_address")

local M = {}

-- Phases without a running request: closed to make room, those whose reply was sent first.
local DONE, WAITING = { "linger", "drain", "pause" }, { "first", "head", "idle" }
local SHORT_MS = 10000 -- how long the limit stays lower after descriptors ran short
local WARN_AGAIN_S = 10

--- Logs a warning, at most once in WARN_AGAIN_S seconds for each event.
function M.warn(server, event, fields)
	if server.log then server.log:limited(event, WARN_AGAIN_S, "warn", event, fields) end
end

local function make_room(server)
	local conn = server.connections:oldest(DONE) or server.connections:oldest(WAITING)
	if conn then conn:close() end
	return conn ~= nil
end

-- The limit of connections: lower for a while after descriptors ran short.
local function current_limit(server, client)
	if client:fileno() >= server.max_descriptor then
		M.warn(server, "few file descriptors left", {
			connections = server.connections.count, limit = server.descriptors,
		})
		server.short_limit = math.max(1, server.connections.count - 2)
		server.short_until = uv.now() + SHORT_MS
	end
	if server.short_until and uv.now() < server.short_until then
		return math.min(server.short_limit, server.max_connections)
	end
	return server.max_connections
end

--- Makes room for a client by closing connections without a running request.
-- @return whether there is room
function M.has_room(server, client)
	local limit = current_limit(server, client)
	while server.connections.count >= limit do
		if not make_room(server) then return false end
	end
	return true
end

--- Counts the connection for its address.
-- @return whether the address is within its limit
function M.count_address(server, conn)
	if server.exempt_loopback and client_address.is_loopback(conn.address) then return true end
	local group = client_address.group(conn.address)
	local count = (server.by_address[group] or 0) + 1
	if count > server.max_per_address then return false end
	server.by_address[group] = count
	conn.group = group
	return true
end

return M
