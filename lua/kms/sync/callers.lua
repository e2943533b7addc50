--- Which member has sent a request, and whether this node deals with it: what the headers decide, and the limits of
-- members. The two envelopes of messages between members share it (kms.sync.route, kms.sync.member_sessions).

local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local Callers = {}
Callers.__index = Callers

local MESSAGES_PER_MINUTE = 60000 -- of a peer
local MAX_PEERS = 4096

--- The peer of a wallet, if this node deals with it.
-- @return peer | nil, message, code, seconds until this node reads the list of members again, on which the wallet is
--   not
function Callers:known(wallet)
	local peer = self.peers:peer(wallet)
	if not peer then
		return nil, "not a KMS peer", "ERR_FORBIDDEN", math.max(1, math.ceil(self.readiness:interval_ms() / 1000))
	end
	if self.bans:all(wallet, self.mono_ms()) then return nil, "ignored for misbehaviour", "ERR_FORBIDDEN" end
	return peer
end

-- Nonces are checked before signatures, so the wallet is only claimed here.
local function record_bad_nonce(self, request)
	local claimed = native.address(request:header("x-kms-wallet") or "")
	local peer = claimed and self.peers:peer(claimed)
	if peer then self.peers:record(peer, "replayed_nonce", "a nonce that was used before") end
end

--- The peer that signed the headers. Sets inbound.wallet once it is proven.
-- @param domain "peer", or "peer_session": the signature covers the collected body
-- @return peer, signature | nil, message, code, seconds to wait
function Callers:authenticate(inbound, domain)
	local wallet, signature, code = self.service:authenticate(inbound.request.head, domain, self.wall_ms(), self.mono_ms())
	if not wallet then
		local message = signature
		-- A nonce that this process never issued is what a peer sends after this node's restart.
		if code == "ERR_POP_NONCE_USED" then record_bad_nonce(self, inbound.request) end
		return nil, message, code
	end
	inbound.wallet, inbound.is_member = wallet, self.peers:peer(wallet) ~= nil
	if self.peers:is_kept_out(wallet) then inbound.refused_app_id = self.peers.app_id end
	local peer, message, wait_s
	peer, message, code, wait_s = self:known(wallet)
	if not peer then return nil, message, code, wait_s end
	return peer, signature
end

--- Counts a message of a peer.
--
-- Members push each write at once, at more than the rate of an address. From its first message on, the connection of a
-- member has the member's own limit instead; only a connection that no proxy shares among clients, and only until a
-- message comes that no member sent.
-- @param route name of the route that the connection's next messages come on
-- @return true | false, seconds until the next one is allowed
function Callers:admit(inbound, peer, route)
	local request = inbound.request
	if inbound.limit_address == request.remote then request:exempt(route) end
	return self.limiter:take(peer.wallet:sub(11), self.mono_ms())
end

--- @param deps service (native), peers, bans, readiness (interval_ms), mono_ms, wall_ms
function M.new(deps)
	local self = needs.take(deps, "service peers bans readiness mono_ms wall_ms")
	self.limiter = rate_limit.per_minute(MESSAGES_PER_MINUTE, MAX_PEERS)
	return setmetatable(self, Callers)
end

return M
