--- When this node serves: membership, identity and master secret against the chain
-- (wire-protocol section 10). A node that cannot show all three answers 503.

local chain_api = require("kms.chain")
local native = require("kms_native")

local M = {}

local Lifecycle = {}
Lifecycle.__index = Lifecycle

-- While not ready the tick comes more often: the first node of a cluster is the only holder
-- of the secret until a second has it.
local IMPATIENT_MS = 5000

local function unavailable(self, reason)
	if self.ready or self.reason ~= reason then self.log:warn("unavailable", { reason = reason }) end
	self.ready, self.reason = false, reason
end

local function available(self)
	if self.ready then return end
	self.ready, self.reason = true, nil
	self.service:set_master(self.secret)
	self.log:info("ready", { secret = self.state })
end

-- The secret this node brings along: given by the operator, kept by the backend, or none.
local function held_secret(self)
	if self.secret then return self.secret end
	local secret, message = self.given, nil
	if not secret and self.tee.load_master then secret, message = self.tee:load_master() end
	if message then return nil, message end
	if secret then self.secret, self.state = secret, "generated" end
	return secret
end

local function publish(self)
	local secret, message = held_secret(self)
	if message then return nil, message end
	if not secret then
		secret, message = self.tee:random_secret()
		if not secret then return nil, message end
		self.secret, self.state = secret, "generated"
	end
	-- Kept before it is published: a hash on chain whose secret is lost ends the cluster.
	if self.tee.save_master then
		local ok
		ok, message = self.tee:save_master(secret)
		if not ok then return nil, message end
	end
	return self.chain:set_master_secret_hash(secret:keccak256())
end

-- Step 4: the local secret against the chain's hash. Returns nil when they agree, else why not.
local function check_secret(self)
	local hash, message = self.chain:master_secret_hash()
	if not hash then return "cannot read master secret hash", message end
	if hash == chain_api.NO_HASH then
		local ok
		ok, message = publish(self)
		if not ok then return "failed to set master secret hash", message end
		hash, message = self.chain:master_secret_hash()
		if not hash then return "cannot read master secret hash", message end
		if hash == chain_api.NO_HASH then return "awaiting on-chain master secret hash" end
	end
	local secret
	secret, message = held_secret(self)
	if not secret or secret:keccak256() ~= hash then return "master secret sync failed", message end
	return nil
end

-- Steps 1 to 4. Returns nil when this node may serve, else the reason and what is behind it.
local function verify(self)
	local ok, message = self.peers:refresh()
	if not ok then return "peer cache refresh failed", message end
	local own = self.peers:get(self.tee.address)
	self.is_operator = own ~= nil
	if not own then return "self not in KMS node list" end
	if own.tee_pubkey ~= self.tee.public_der
		and native.peer_point(own.tee_pubkey) ~= native.peer_point(self.tee.public_der) then
		return "local teePubkey mismatch with registry"
	end
	return check_secret(self)
end

--- One node tick: looks at the chain and decides whether the node serves.
function Lifecycle:tick()
	local reason, cause = verify(self)
	if cause then self.log:warn("node tick", { reason = reason, cause = cause }) end
	if reason then return unavailable(self, reason) end
	available(self)
end

--- Milliseconds until the next tick.
function Lifecycle:interval_ms()
	if self.ready then return self.tick_ms end
	return math.min(self.tick_ms, IMPATIENT_MS)
end

--- The part of /status that speaks of the master secret.
function Lifecycle:secret_status()
	return { state = self.state, synced_from = nil }
end

--- @param deps chain, peers, tee, service (native), log, given (secret of
-- MASTER_SECRET_HEX, or nil), tick_ms
function M.new(deps)
	return setmetatable({
		chain = deps.chain, peers = deps.peers, tee = deps.tee, service = deps.service, log = deps.log,
		given = deps.given, tick_ms = deps.tick_ms, ready = false, reason = "starting",
		state = "uninitialized", is_operator = false,
	}, Lifecycle)
end

return M
