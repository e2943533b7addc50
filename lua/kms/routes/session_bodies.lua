--- The bodies of messages of sessions, while they arrive. Whoever sees a sid on its way can send bodies that turn out
-- to be none of that session, and they take from the memory of its application: so one client address has half of it,
-- or room for one body of a member.

local client_address = require("kms.http.client_address")
local finally = require("kms.async.finally")

local M = {}

local Bodies = {}
Bodies.__index = Bodies

local SMALL_BYTES = 16384 -- not counted: as many as an address has connections are little
local CHUNKED_BYTES = 65536 -- of one whose length nobody knows: it counts as that long

local function give_back(self, part)
	local left = self.held[part.key] - part.bytes
	self.held[part.key] = left > 0 and left or nil
end

--- Collects the body of a message; yields.
-- @param inbound kms.http.inbound; @param owner of the session that its first bytes name: app id, or a member's wallet
-- @param is_member whether it is a member's
-- @return as kms.http.request's read_body
function Bodies:read(inbound, owner, is_member)
	local request, limit, address = inbound.request, inbound.max_body, inbound.limit_address
	local bytes = request.length
	if not bytes then
		limit = math.min(limit, CHUNKED_BYTES)
		bytes = limit
	end
	if bytes <= SMALL_BYTES or not address then return request:read_body(limit, owner, is_member) end
	local key = client_address.path(address)[1] .. " " .. owner
	local held = (self.held[key] or 0) + bytes
	local most = is_member and self.most_of_member or self.most
	if held > most then return nil, "too many messages from this address in flight", "ERR_RATE" end
	self.held[key] = held
	return finally.call(give_back, self, { key = key, bytes = bytes }, request.read_body, request, limit, owner,
		is_member)
end

--- @param config MAX_APP_BODY_MEMORY_BYTES, MAX_REQUEST_BODY_BYTES, MAX_SYNC_PAYLOAD_BYTES
function M.new(config)
	local most = math.max(config.MAX_APP_BODY_MEMORY_BYTES // 2, config.MAX_REQUEST_BODY_BYTES)
	-- Of a member, which sends one after the other, room for one.
	return setmetatable({ held = {}, most = most, most_of_member = math.max(most, config.MAX_SYNC_PAYLOAD_BYTES) }, Bodies)
end

return M
