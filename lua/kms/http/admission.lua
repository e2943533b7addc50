--- Decides whether a server (kms.http.server) accepts one more connection: limits of all
-- connections, of those from one address, and of file descriptors.

local uv = require("luv")
local client_address = require("kms.http.client_address")

local M = {}

-- Phases without a running request: closed to make room, those whose reply was sent first.
local DONE, WAITING = { "linger", "drain", "pause" }, { "first", "head", "idle" }
local SHORT_MS = 10000 -- how long the limit stays lower after descriptors ran short
local WARN_AGAIN_S = 10
local NETWORK_ADDRESSES = 16 -- that a network counts as at most, as in kms/limit.h

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

--- Whether clients share an address, as they do behind an enclave's ingress.
function M.is_shared(server, address)
	return server.exempt_loopback and client_address.is_loopback(address)
end

local function add(counts, key, change)
	local count = (counts[key] or 0) + change
	counts[key] = count > 0 and count or nil
end

--- Counts the connection for its address and its network.
-- @return whether both are within their limits
function M.count_address(server, conn)
	local counts = server.per_client
	if M.is_shared(server, conn.address) then return true end
	local network, address = conn.path[1], conn.path[2]
	if (counts.addresses[address] or 0) >= server.max_per_address then return false end
	if (counts.networks[network] or 0) >= server.max_per_network then return false end
	add(counts.addresses, address, 1)
	add(counts.networks, network, 1)
	conn.is_counted = true
	return true
end

--- Ends what count_address counted.
function M.discount_address(server, conn)
	if not conn.is_counted then return end
	conn.is_counted = false
	add(server.per_client.addresses, conn.path[2], -1)
	add(server.per_client.networks, conn.path[1], -1)
end

--- How many connections a network (IPv6: /48) may have: as many as NETWORK_ADDRESSES addresses, and never all.
-- @param max_connections, max_per_address  limits of the server
function M.max_per_network(max_connections, max_per_address)
	return math.max(max_per_address, math.min(NETWORK_ADDRESSES * max_per_address, max_connections // 2))
end

return M
