--- When this node serves: membership, identity and master secret against the chain, and a store
-- that holds what the cluster holds (docs/protocol.md section 10).
--
-- verified: the chain bears this node out, not long ago. ready: verified, and the store is complete.
-- A no of the chain counts at once; no answer counts when the last good view is too old.

local chain_api = require("kms.chain")
local loop = require("kms.base.loop")

local M = {}

local Readiness = {}
Readiness.__index = Readiness

-- While not ready the tick comes more often: the first node of a cluster is the only holder
-- of the secret until a second has it.
local IMPATIENT_MS = 5000
local VIEW_TICKS = 3 -- a view counts for this many ticks at least
local LONELY_TICKS = 3 -- without a complete store anywhere: then this node's own has to do
local UNREADY_TICKS = 20 -- the same while a member is there but not ready: its store may be complete
local SETTLED_TICKS = 2 -- of a ready node, for which peers may still hand out the secret of the hash before

local TOO_OLD = "the last view of the chain is too old"
local MISSING = {} -- marks a reason as "no answer"

-- One line a change: ticks are frequent while a node is not ready.
local function unavailable(self, reason, cause)
	if self.ready or self.reason ~= reason or self.cause ~= cause then
		self.log:warn("unavailable", { reason = reason, cause = cause })
	end
	self.ready, self.reason, self.cause = false, reason, cause
end

local function available(self)
	local secret = self.secrets.current
	if self.ready and self.served == secret then return end
	self.ready, self.reason, self.cause, self.served = true, nil, nil, secret
	self.service:set_master(secret)
	self.log:info("ready", { secret = self.secrets.state })
end

-- What the chain contradicts counts no more before anything is done about it: that takes its time,
-- and requests come meanwhile.
local function contradicted(self, reason, cause)
	if not self.verified then return end
	self.verified = false
	unavailable(self, reason, cause)
end

local function publish(self)
	local ok, message = self.secrets:publishable()
	if not ok then return nil, message end
	return self.chain:set_master_secret_hash(self.secrets.current:keccak256(), self.tee)
end

local function ask_peers(self, hash)
	if not self.join then return nil, "no peer to ask" end
	local settled = self.mono_ms() - self.hash_ms > SETTLED_TICKS * self.tick_ms
	local secret, from = self.join:secret(hash, settled)
	if not secret then return nil, from end
	return self.secrets:use(secret, "synced", from)
end

-- Since when the chain has shown the same hash.
local function note_hash(self, hash)
	if hash ~= self.hash then self.hash, self.hash_ms = hash, self.mono_ms() end
	self.secrets:age(hash ~= chain_api.NO_HASH and hash or nil, self.mono_ms())
end

local function read_hash(self)
	local hash, message = self.chain:master_secret_hash()
	if not hash then return nil, "cannot read master secret hash", message, MISSING end
	note_hash(self, hash)
	return hash
end

-- Step 4: the local secret against the chain's hash. Nothing when they agree, else why not.
local function check_secret(self)
	local ok, message = self.secrets:recall()
	if not ok then return "cannot read the secret of an earlier run", message end
	local hash, reason, cause, kind = read_hash(self)
	if not hash then return reason, cause, kind end
	if hash == chain_api.NO_HASH then
		contradicted(self, "awaiting on-chain master secret hash")
		ok, message = publish(self)
		if not ok then return "failed to set master secret hash", message end
		hash, reason, cause, kind = read_hash(self)
		if not hash then return reason, cause, kind end
		if hash == chain_api.NO_HASH then return "awaiting on-chain master secret hash" end
	end
	ok, message = self.secrets:choose(hash)
	if ok == false then
		contradicted(self, "master secret sync failed", "the chain shows another secret's hash")
		ok, message = ask_peers(self, hash)
	end
	if not ok then return "master secret sync failed", message end
	return nil
end

-- What the view is as old as: the newest block's own time.
local function note_view(self, head)
	local age_ms = math.max(0, self.clock:now() - head.time_ms)
	self.view_ms = self.mono_ms() - age_ms
end

local function is_fresh(self)
	return self.view_ms ~= nil and self.mono_ms() - self.view_ms <= self.view_ttl_ms
end

-- Steps 1 to 4. Nothing when the chain bears this node out, else the reason, what is behind it,
-- and MISSING where there was no answer.
local function verify(self)
	local head
	local ok, message = self.chain:begin_tick()
	if ok then head, message = self.chain:head() end
	if ok and head then ok, message = self.peers:refresh() end
	if not ok or not head then return "peer cache refresh failed", message, MISSING end
	ok, message = self.clock:check(head.time_ms)
	if not ok then return "clock", message end
	local own = self.peers:get(self.tee.address)
	self.is_operator, self.own_url = own ~= nil, own and own.url
	if not own then return "self not in KMS node list" end
	-- Byte for byte: another form of the same key is not what this node would register.
	if own.tee_pubkey ~= self.tee.public_der then return "local teePubkey mismatch with registry" end
	local reason, cause, kind = check_secret(self)
	if reason then return reason, cause, kind end
	note_view(self, head)
	-- A head may be older than a view may become.
	if not is_fresh(self) then return TOO_OLD, nil, MISSING end
	return nil
end

--- Whether this node's store holds what the cluster holds under the secret in use.
function Readiness:is_complete()
	return self.complete_with ~= nil and self.complete_with == self.secrets.current
end

-- Whether the store may count as complete after one round of asking.
local function is_enough(self, found)
	if found.complete > 0 then return true end
	self.lonely = self.lonely + 1
	if self.lonely < (found.unready > 0 and UNREADY_TICKS or LONELY_TICKS) then return false end
	-- Whoever got the secret from a peer waits for that one's records, unless all have been asked.
	if self.secrets.state ~= "generated" and found.reached < found.members then return false end
	self.log:warn("no member has a complete store: serving what is here", {
		members = found.members, reached = found.reached,
	})
	return true
end

-- Step 5: records of the cluster, before anybody is served from this store.
local function fetch_store(self)
	local secret = self.secrets.current
	if self.fetched_for ~= secret then self.fetched_for, self.lonely = secret, 0 end
	if not self.secrets:is_fresh() and self.join and #self.peers:others() > 0 then
		local found = self.join:snapshots(secret)
		self.snapshot_cause = found.message
		if not is_enough(self, found) then return end
	end
	self.complete_with, self.fetched_for = secret, nil
end

local function settle(self)
	if not self.verified then return end
	if self:is_complete() then return available(self) end
	unavailable(self, self.completing and "waiting for a snapshot" or "snapshot sync failed", self.snapshot_cause)
end

local function start_completing(self)
	if self:is_complete() or self.completing then return end
	self.completing = true
	loop.spawn(function()
		local ok = loop.try(fetch_store, self)
		self.completing = false
		if not ok then self.snapshot_cause = "the snapshot broke down" end
		settle(self)
	end)
end

local function borne_out(self)
	local was_away = not self.verified and self:is_complete()
	self.verified = true
	self.on_verified()
	if was_away and self.join then self.join:catch_up(self.secrets.current) end
	start_completing(self)
	settle(self)
end

--- One node tick: looks at the chain and decides whether the node serves. A check that breaks
-- down has not succeeded: the node stops serving and tries again at the next tick.
function Readiness:tick()
	local ok, reason, cause, kind = loop.try(verify, self)
	if ok and not reason then ok, reason = loop.try(borne_out, self) end
	if not ok then reason, cause = "node check failed", tostring(reason) end
	if not reason then return end
	if kind == MISSING and self.verified and is_fresh(self) then
		self.log:limited("view", 60, "warn", "no answer from the chain: its last view still counts", { cause = cause })
		return
	end
	self.verified = false
	unavailable(self, reason, cause)
end

--- To be called each second: stops serving on a view that has become too old.
function Readiness:watch()
	if not self.verified or is_fresh(self) then return end
	self.verified = false
	unavailable(self, TOO_OLD)
end

--- Whether the chain bears this node out: then it may hand out the secret and records.
function Readiness:is_verified()
	return self.verified and is_fresh(self)
end

--- Takes up the secret of an earlier run, so that a file that is broken or another node's stops
-- the start and not only the service.
-- @return true | nil, message
function Readiness:recall()
	return self.secrets:recall()
end

--- Milliseconds until the next tick.
function Readiness:interval_ms()
	if self.ready then return self.tick_ms end
	return math.min(self.tick_ms, IMPATIENT_MS)
end

--- @param deps chain, peers, tee, service (native), secrets (kms.node.master_secrets), clock (kms.base.clock), log,
-- mono_ms, tick_ms, view_ttl_ms; join (kms.sync.bootstrap, nil: there is nobody to join);
-- on_verified (function, after each tick that the chain bore out)
function M.new(deps)
	return setmetatable({
		chain = deps.chain, peers = deps.peers, tee = deps.tee, service = deps.service, secrets = deps.secrets,
		clock = deps.clock, log = deps.log, mono_ms = deps.mono_ms, tick_ms = deps.tick_ms, join = deps.join,
		view_ttl_ms = math.max(deps.view_ttl_ms, VIEW_TICKS * deps.tick_ms),
		on_verified = deps.on_verified or function() end, ready = false, verified = false,
		reason = "starting", is_operator = false, lonely = 0,
	}, Readiness)
end

return M
