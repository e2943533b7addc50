--- Decides whether this node serves: its membership, identity and master secret must match the chain, and its
-- store must hold what the cluster holds (docs/protocol.md section 10).
--
-- verified: the chain confirmed this node's registration within view_ttl_ms. ready: verified, and the store is
-- complete. What the chain denies counts at once; a chain that cannot be read counts once the view is too old.

local chain_api = require("kms.chain")
local completeness = require("kms.node.completeness")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local secret_sources = require("kms.node.secret_sources")

local M = {}

local Readiness = {}
Readiness.__index = Readiness

local UNREADY_TICK_MS = 5000 -- short: the first node of a cluster alone holds the secret until a second one has it
local UNREADABLE_TICK_MS = 5000 -- after a tick that had no answer from the chain
local VIEW_TICKS = 3 -- a view is valid for at least this many ticks
local SETTLED_TICKS = 2 -- of a ready node, in which peers may still give the secret of the previous hash

local NO_WRITES_YET = "this node has restarted without the records of its cluster: it reads, and writes after a pause"
local TOO_OLD = "the last view of the chain is too old"
local UNREADABLE = {} -- marks a reason: the chain could not be read

-- Logs changes only: ticks are frequent while a node is not ready.
local function set_unready(self, reason, cause)
	if self.ready or self.reason ~= reason or self.cause ~= cause then
		self.log:warn("unavailable", { reason = reason, cause = cause })
	end
	self.ready, self.reason, self.cause = false, reason, cause
end

local function set_ready(self)
	local secret = self.secrets.current
	if self.ready and self.served == secret then return end
	self.ready, self.reason, self.cause, self.served = true, nil, nil, secret
	self.service:set_master(secret)
	self.log:info("ready", { secret = self.secrets.state })
end

-- Stops serving before repairing: the repair can take seconds while requests keep arriving.
local function stop_before_repair(self, reason, cause)
	if not self.verified then return end
	self.verified = false
	set_unready(self, reason, cause)
end

-- ---- the master secret -----------------------------------------------------------------------------

-- Returns true | nil, message.
local function publish(self)
	local ok, message = self.secrets:publishable()
	if not ok then return nil, message end
	return self.chain:set_master_secret_hash(self.secrets.current:keccak256(), self.tee)
end

-- Records since when the chain has shown the same hash.
local function record_hash(self, hash)
	if hash ~= self.hash then self.hash, self.hash_ms = hash, self.mono_ms() end
	self.secrets:age(hash ~= chain_api.NO_HASH and hash or nil, self.mono_ms())
end

-- Returns the hash | nil, reason, cause, UNREADABLE.
local function read_hash(self)
	local hash, message = self.chain:master_secret_hash()
	if not hash then return nil, "cannot read master secret hash", message, UNREADABLE end
	record_hash(self, hash)
	return hash
end

-- Step 4 of a tick: the secret in use must be the one of the chain's hash.
-- Returns nothing when it is, else the reason, its cause, and UNREADABLE when the chain could not be read.
local function check_secret(self)
	local ok, message = self.secrets:recall()
	if not ok then return "cannot read the secret of an earlier run", message end
	local hash, reason, cause, kind = read_hash(self)
	if not hash then return reason, cause, kind end
	if hash == chain_api.NO_HASH then
		stop_before_repair(self, "awaiting on-chain master secret hash")
		ok, message = publish(self)
		if not ok then return "failed to set master secret hash", message end
		hash, reason, cause, kind = read_hash(self)
		if not hash then return reason, cause, kind end
		if hash == chain_api.NO_HASH then return "awaiting on-chain master secret hash" end
	end
	ok, message = self.secrets:choose(hash)
	local of_all, waiting
	if ok == false then
		stop_before_repair(self, "master secret sync failed", "the chain shows another secret's hash")
		local settled = self.mono_ms() - self.hash_ms > SETTLED_TICKS * self.tick_ms
		ok, message, of_all, waiting = self.sources:fetch(hash, settled)
	end
	if not ok then return waiting or "master secret sync failed" .. (of_all and ": " .. of_all or ""), message end
	return nil
end

-- ---- the chain's view of this node -----------------------------------------------------------------

-- A view's age counts from the newest block's timestamp.
local function record_view(self, head)
	local age_ms = math.max(0, self.clock:now() - head.time_ms)
	self.view_ms = self.mono_ms() - age_ms
end

local function is_fresh(self)
	return (self:view_left_ms() or 0) > 0
end

-- Steps 1 to 4 of a tick.
-- Returns nothing when the chain confirms this node, else as check_secret.
local function verify(self)
	local head
	local ok, message = self.identity:learn()
	if not ok then return "waiting for the TEE service", message end
	ok, message = self.chain:begin_tick()
	if ok then head, message = self.chain:head() end
	if ok and head then ok, message = self.peers:refresh() end
	if not ok or not head then return "peer cache refresh failed", message, UNREADABLE end
	ok, message = self.clock:check(head.time_ms)
	if not ok then return "clock", message end
	if self.clock_check then self.clock_check:head(head.time_ms) end
	local own = self.peers:get(self.tee.address)
	self.is_operator, self.own_url = own ~= nil, own and own.url
	if not own then return "self not in KMS node list" end
	-- Byte for byte: this node would not register another encoding of the key.
	if own.tee_pubkey ~= self.tee.public_der then return "local teePubkey mismatch with registry" end
	local reason, cause, kind = check_secret(self)
	if reason then return reason, cause, kind end
	record_view(self, head)
	-- MAX_HEAD_AGE_SECONDS may be longer than view_ttl_ms.
	if not is_fresh(self) then return TOO_OLD, nil, UNREADABLE end
	return nil
end

-- ---- ticks -----------------------------------------------------------------------------------------

local function settle(self)
	if not self.verified then return end
	local store = self.completeness
	if store:is_enough() then
		self.on_complete(store:has_seen_all())
		return set_ready(self)
	end
	set_unready(self, store.asked and "snapshot sync failed" or "waiting for a snapshot", store.cause)
end

local function confirmed(self)
	local is_anew = not self.verified
	local was_away = is_anew and self.completeness:is_enough()
	self.verified = true
	self.url = self.instance_url or self.own_url or self.url
	self.on_verified()
	if is_anew then self.completeness:confirmed_anew() end
	if self.absence:confirmed() then self.completeness:rejoin() end
	if was_away and self.existing then self.existing:fetch_all(self.secrets.current) end
	self.completeness:start(function() settle(self) end)
	settle(self)
end

--- One node tick: reads the chain and decides whether the node serves. A check that throws has failed: the
-- node stops serving and tries again at the next tick.
function Readiness:tick()
	local ok, reason, cause, kind = loop.try(verify, self)
	if ok and not reason then ok, reason = loop.try(confirmed, self) end
	if not ok then reason, cause = "node check failed", tostring(reason) end
	self.was_unreadable = reason ~= nil and kind == UNREADABLE
	if not reason then return end
	if kind == UNREADABLE and self.verified and is_fresh(self) then
		self.log:limited("view", 60, "warn", "no answer from the chain: its last view still counts", { cause = cause })
		return
	end
	self.verified = false
	set_unready(self, reason, cause)
end

--- Milliseconds until the last view is too old, 0 when it is; nil before the first one.
function Readiness:view_left_ms()
	return self.view_ms and math.max(0, self.view_ms + self.view_ttl_ms + 1 - self.mono_ms())
end

--- Stops serving when the view has become too old. To be called when it has.
function Readiness:watch()
	if not is_fresh(self) then stop_before_repair(self, TOO_OLD) end
end

--- Whether this node's store holds what the cluster holds under the secret in use.
function Readiness:is_complete()
	return self.completeness:is_complete()
end

--- Why this node, though it serves, makes no writes yet.
-- @return nil | message, seconds to wait
function Readiness:writes_wait()
	local left_ms = self.completeness:quiet_left_ms()
	if left_ms == 0 then return nil end
	return NO_WRITES_YET, math.ceil(left_ms / 1000)
end

--- Whether this node serves though it does not know what the cluster holds (kms.node.completeness).
function Readiness:is_alone()
	return self.completeness:is_alone()
end

--- Whether the chain confirms this node: then it may give peers the secret and records.
function Readiness:is_verified()
	return self.verified and is_fresh(self)
end

--- Milliseconds since the head block of the last view, or nil before the first one.
function Readiness:view_age_ms()
	return self.view_ms and math.max(0, self.mono_ms() - self.view_ms)
end

--- Milliseconds until the next tick.
function Readiness:interval_ms()
	if self.was_unreadable then return math.min(self.tick_ms, UNREADABLE_TICK_MS) end
	if self.ready and not (self.clock_check and self.clock_check.reason) then return self.tick_ms end
	return self.identity.next_ms or math.min(self.tick_ms, UNREADY_TICK_MS)
end

--- @param deps identity (kms.node.identity); chain, peers, tee; service (native); secrets
-- (kms.node.master_secrets); clock (kms.base.clock); log, mono_ms, tick_ms, view_ttl_ms; alone, absence (of
-- kms.node.completeness); optional: clock_check (kms.node.clock_check), bootstrap, join and existing (kms.sync; nil:
-- no peers), custodians (kms.recovery.waiting), url (before the chain names one), instance_url
-- (NODE_INSTANCE_URL, used instead of the chain's),
-- on_verified (called after each tick that the chain confirmed), on_complete (function(seen_all): called while the
-- store is enough to serve, before it serves and after each tick), quiet_ms (0); sleep, snapshots (as above)
-- @return readiness; its fields for others: ready, reason (why not), is_operator (a member), url, completeness
function M.new(deps)
	local self = needs.take(deps, "identity chain peers tee service secrets clock log mono_ms tick_ms view_ttl_ms "
		.. "alone absence", "clock_check bootstrap custodians join existing sleep url instance_url on_verified on_complete "
		.. "quiet_ms snapshots")
	self.view_ttl_ms = math.max(self.view_ttl_ms, VIEW_TICKS * self.tick_ms)
	self.on_verified, self.on_complete = self.on_verified or function() end, self.on_complete or function() end
	self.sources = secret_sources.new({
		secrets = self.secrets, bootstrap = self.bootstrap, custodians = self.custodians,
	})
	self.completeness = completeness.new({
		secrets = self.secrets, peers = self.peers, log = self.log, mono_ms = self.mono_ms, absence = self.absence,
		join = self.join, alone = self.alone, sleep = self.sleep, snapshots = self.snapshots, quiet_ms = self.quiet_ms or 0,
		list_ms = self.view_ttl_ms,
		goes_on = function(secret) return self:is_verified() and self.secrets.current == secret end,
	})
	self.ready, self.verified, self.is_operator, self.reason = false, false, false, "starting"
	return setmetatable(self, Readiness)
end

return M
