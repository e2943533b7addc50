--- Notices that this node was away, paused or no member, for so long that the others may have deleted records and
-- forgotten the deletions. It must not bring such records back: until it has dropped what a complete member has let go
-- of, it gives nothing to others and joins anew (docs/protocol.md section 10). Its field for others: before_ms, nil
-- when the node is not in this state: what is stamped before this time other members held before the absence.

local needs = require("kms.base.needs")

local M = {}

local Absence = {}
Absence.__index = Absence

-- Milliseconds since the last tick that the chain confirmed; nil: this is the first one. The monotonic clock stands
-- still while the machine sleeps or its virtual machine is paused; the wall clock, which the chain has just confirmed,
-- may have been set back.
local function since_last(self)
	local mono, wall, last = self.mono_ms(), self.wall_ms(), self.last
	self.last = { mono_ms = mono, wall_ms = wall }
	return last and math.max(mono - last.mono_ms, wall - last.wall_ms)
end

--- Notes a tick that the chain confirmed.
-- @return whether the node must join anew
function Absence:confirmed()
	local away_ms = since_last(self)
	if self.before_ms or not away_ms or away_ms <= self.limit_ms then return false end
	local shared_ms = self.shared_ms()
	if not shared_ms then return false end
	self.before_ms = math.max(1, shared_ms - self.skew_ms)
	self.log:warn("away for so long that deletions may be forgotten: joining anew", { seconds = away_ms // 1000 })
	return true
end

--- Notes how many records were dropped because a peer has let go of them.
function Absence:forgot(peer, records)
	if records > 0 then
		self.log:warn("records dropped that were deleted while this node was away", { peer = peer.wallet, records = records })
	end
end

--- Ends the state: the node knows what was deleted, or nobody can tell.
function Absence:over()
	self.before_ms = nil
end

--- @param deps mono_ms, wall_ms (the node's clock), log; retention_ms (TOMBSTONE_RETENTION_MS), view_ttl_ms
--   (PEER_CACHE_TTL_SECONDS), skew_ms (MAX_CLOCK_SKEW_MS); shared_ms (function -> as kms.sync.repair.shared_ms)
-- @return absence
function M.new(deps)
	local self = needs.take(deps, "mono_ms wall_ms log retention_ms view_ttl_ms skew_ms shared_ms")
	-- Half of the retention: tombstones that were made before the last tick may be gone already.
	self.limit_ms = math.max(self.retention_ms // 2, self.view_ttl_ms)
	return setmetatable(self, Absence)
end

return M
