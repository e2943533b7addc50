--- Makes the store complete: before a node serves, it fetches the records that the cluster holds under the
-- master secret in use (docs/protocol.md section 10, step 5).

local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local Completeness = {}
Completeness.__index = Completeness

local LONELY_ROUNDS = 3 -- without a complete store in the cluster, until this node's own counts as complete
local UNREADY_ROUNDS = 20 -- the same while a member is there but not ready: its store may be complete

--- Whether this node's store holds what the cluster holds under the secret in use.
function Completeness:is_complete()
	return self.complete_with ~= nil and self.complete_with == self.secrets.current
end

-- Whether the store counts as complete after one round of snapshots.
local function is_enough(self, found)
	if found.complete > 0 then return true end
	self.lonely = self.lonely + 1
	if self.lonely < (found.unready > 0 and UNREADY_ROUNDS or LONELY_ROUNDS) then return false end
	-- A node that got the secret from a peer waits for that peer's records, unless all members responded.
	if self.secrets.state ~= "generated" and found.reached < found.members then return false end
	self.log:warn("no member has a complete store: serving what is here", {
		members = found.members, reached = found.reached,
	})
	self.is_alone = true
	return true
end

--- Milliseconds until this node may write. The clock may have been set back since this node's last run, whose counters
-- must not be given to other writes (docs/protocol.md section 10): a node that found no complete store waits.
function Completeness:quiet_left_ms()
	return self.is_alone and math.max(0, self.quiet_ms - (self.mono_ms() - self.started_ms)) or 0
end

local function fetch(self)
	local secret = self.secrets.current
	if self.fetched_for ~= secret then self.fetched_for, self.lonely, self.reached = secret, 0, nil end
	if not self.secrets:is_fresh() and self.bootstrap and #self.peers:others() > 0 then
		local found = self.bootstrap:snapshots(secret)
		self.reached = found.reached
		self.cause = found.message
		if not is_enough(self, found) then return end
	end
	self.complete_with, self.fetched_for = secret, nil
end

--- Whether every other member has shown this node its records: then this node holds all that anybody holds.
function Completeness:has_seen_all()
	return self:is_complete() and self.reached ~= nil and self.reached >= #self.peers:others()
end

--- Fetches snapshots in the background, unless the store is complete or this runs already.
-- @param done called when it has run, with whatever success
function Completeness:start(done)
	if self:is_complete() or self.running then return end
	self.running = true
	loop.spawn(function()
		local ok = loop.try(fetch, self)
		self.running = false
		if not ok then self.cause = "fetching snapshots threw an error" end
		done()
	end)
end

--- @param deps secrets (kms.node.master_secrets), peers, log, mono_ms; quiet_ms (from the start, in which a node
--   that found no complete store does not write); bootstrap (kms.sync.bootstrap; nil: there are no peers)
-- @return completeness; its fields for others: running, cause (why the last round did not suffice, or nil)
function M.new(deps)
	local self = needs.take(deps, "secrets peers log mono_ms quiet_ms", "bootstrap")
	self.running, self.lonely, self.started_ms = false, 0, self.mono_ms()
	return setmetatable(self, Completeness)
end

return M
