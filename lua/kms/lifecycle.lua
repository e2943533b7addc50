--- When this node serves: membership, identity and master secret against the chain
-- (wire-protocol section 10). A node that cannot show all three answers 503.

local chain_api = require("kms.chain")

local M = {}

local Lifecycle = {}
Lifecycle.__index = Lifecycle

-- While not ready the tick comes more often: the first node of a cluster is the only holder
-- of the secret until a second has it.
local IMPATIENT_MS = 5000

-- One line a change: ticks are frequent while a node is not ready.
local function unavailable(self, reason, cause)
	if self.ready or self.reason ~= reason or self.cause ~= cause then
		self.log:warn("unavailable", { reason = reason, cause = cause })
	end
	self.ready, self.reason, self.cause = false, reason, cause
end

local function available(self)
	if self.ready and self.served == self.secret then return end
	self.ready, self.reason, self.cause, self.served = true, nil, nil, self.secret
	self.service:set_master(self.secret)
	self.log:info("ready", { secret = self.state })
end

-- The secret that the backend kept in an earlier run, or nil.
local function kept_secret(self)
	if self.kept or not self.tee.load_master then return self.kept end
	local secret, message = self.tee:load_master()
	if message then return nil, message end
	self.kept = secret
	return secret
end

-- Keeps a secret that is about to be published: a hash on chain whose secret is lost ends the
-- cluster. What was kept before is never written over.
local function keep(self, secret)
	if not self.tee.save_master or self.kept then return true end
	local ok, message = self.tee:save_master(secret)
	if not ok then return nil, message end
	self.kept = secret
	return true
end

-- The secret for a chain that has none: one that was in use first.
local function publish(self)
	local kept, message = kept_secret(self)
	if message then return nil, message end
	local secret = self.secret or kept or self.given
	if not secret then
		secret, message = self.tee:random_secret()
		if not secret then return nil, message end
	end
	local ok
	ok, message = keep(self, secret)
	if not ok then return nil, message end
	self.secret, self.state = secret, "generated"
	return self.chain:set_master_secret_hash(secret:keccak256(), self.tee)
end

-- Takes the secret that the chain's hash belongs to: the one in use, the one given by the
-- operator, or the one kept by the backend. Whichever it is not stays as it is.
local function choose_secret(self, hash)
	local kept, message = kept_secret(self)
	for _, secret in ipairs({ self.secret or false, self.given or false, kept or false }) do
		if secret and secret:keccak256() == hash then
			self.secret, self.state = secret, "generated"
			return true
		end
	end
	if not self.secret and (kept or self.given) then self.secret, self.state = kept or self.given, "generated" end
	return nil, message
end

-- Step 4: the local secret against the chain's hash. Returns nil when they agree, else why not.
local function check_secret(self)
	local hash, message = self.chain:master_secret_hash()
	if not hash then return "cannot read master secret hash", message end
	local ok
	if hash == chain_api.NO_HASH then
		ok, message = publish(self)
		if not ok then return "failed to set master secret hash", message end
		hash, message = self.chain:master_secret_hash()
		if not hash then return "cannot read master secret hash", message end
		if hash == chain_api.NO_HASH then return "awaiting on-chain master secret hash" end
	end
	ok, message = choose_secret(self, hash)
	if not ok then return "master secret sync failed", message end
	return nil
end

-- Steps 1 to 4. Returns nil when this node may serve, else the reason and what is behind it.
local function verify(self)
	local ok, message = self.chain:begin_tick()
	if ok then ok, message = self.peers:refresh() end
	if not ok then return "peer cache refresh failed", message end
	local own = self.peers:get(self.tee.address)
	self.is_operator = own ~= nil
	if not own then return "self not in KMS node list" end
	-- Byte for byte: another form of the same key is not what this node would register.
	if own.tee_pubkey ~= self.tee.public_der then return "local teePubkey mismatch with registry" end
	return check_secret(self)
end

--- One node tick: looks at the chain and decides whether the node serves. A check that breaks
-- down has not succeeded: the node stops serving and tries again at the next tick.
function Lifecycle:tick()
	local ok, reason, cause = pcall(verify, self)
	if not ok then reason, cause = "node check failed", tostring(reason) end
	if reason then return unavailable(self, reason, cause) end
	available(self)
end

--- Takes up the secret of an earlier run, so that a file that is broken or another node's stops
-- the start and not only the service.
-- @return true | nil, message
function Lifecycle:recall()
	local _, message = kept_secret(self)
	if message then return nil, message end
	return true
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
