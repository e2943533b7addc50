--- How many connections a server (kms.http.server) has room for: in all, by address, and with the
-- descriptors that are left.

local uv = require("luv")
local remote = require("kms.http.client_address")

local M = {}

-- Without a request that runs: closed to make room. Those that are answered go first.
local DONE, WAITING = { "linger", "drain" }, { "first", "head", "idle" }
local SHORT_MS = 10000 -- how long a shortage of descriptors is remembered
local LOG_AGAIN_S = 10

--- One line each ten seconds, however often it happens.
function M.log_rarely(self, event, fields)
	if self.log then self.log:limited(event, LOG_AGAIN_S, "warn", event, fields) end
end

local function make_room(self)
	local conn = self.phases:oldest(DONE) or self.phases:oldest(WAITING)
	if conn then conn:close() end
	return conn ~= nil
end

-- How many connections there may be now: fewer for a while after descriptors ran short.
local function limit_now(self, client)
	if client:fileno() >= self.max_descriptor then
		M.log_rarely(self, "few file descriptors left", { connections = self.phases.count, limit = self.descriptors })
		self.short_limit = math.max(1, self.phases.count - 2)
		self.short_until = uv.now() + SHORT_MS
	end
	if self.short_until and uv.now() < self.short_until then return math.min(self.short_limit, self.max_connections) end
	return self.max_connections
end

--- Room for one more: false when nothing can be closed for it.
function M.has(self, client)
	local limit = limit_now(self, client)
	while self.phases.count >= limit do
		if not make_room(self) then return false end
	end
	return true
end

--- Counts the connection for its address; false when there are too many.
function M.within_address(self, conn)
	if self.exempt_loopback and remote.is_loopback(conn.address) then return true end
	local group = remote.group(conn.address)
	local count = (self.by_address[group] or 0) + 1
	if count > self.max_per_address then return false end
	self.by_address[group] = count
	conn.group = group
	return true
end

return M
