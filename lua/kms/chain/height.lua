--- Whether a head's height is plausible beside the heights before it. It never falls by more than the confirmations,
-- never grows faster than blocks can be made, and grows while its time does.
--
-- What is not plausible is believed when a second server says about the same, or when it has been said for max_age_ms
-- and nobody has shown the height before it meanwhile. A height that one server alone has shown binds no other one:
-- a server must not lock others out by what it claims.

local needs = require("kms.base.needs")

local M = {}

local Height = {}
Height.__index = Height

local BLOCKS_PER_S = 10 -- more than chains of this kind make
local FEW_BLOCKS = 8 -- by which servers may differ, and a height may jump
local CLAIM_MS = 60000 -- how long a claim waits for another server's
local RECENT_MS = 60000 -- the age of a head from a server that does not lag
local RESTAMP_MS = 30000 -- how much later a block is that replaces one of the same height

-- How high a head may be after an earlier one. The server's own stamp counts up to this node's time only.
local function ceiling(self, earlier, head)
	local passed_ms = math.max(0, math.min(head.time_ms, self.wall_ms()) - earlier.time_ms)
	return earlier.number + self.slack + BLOCKS_PER_S * passed_ms // 1000
end

-- Whether it is no higher than the chain can be, after the highest head or after the one last used from this server:
-- another one may have said since that the height is low.
local function may_have_grown(self, head, server)
	local own = self.used_of[server]
	return head.number <= ceiling(self, self.highest, head) or own ~= nil and head.number <= ceiling(self, own, head)
end

-- Whether another server has lately claimed about the same, or nothing else was shown for max_age_ms.
local function is_borne_out(self, head, server)
	local now = self.mono_ms()
	for other, claim in pairs(self.claims) do
		local is_recent = now - claim.ms <= CLAIM_MS
		if other ~= server and is_recent and math.abs(claim.number - head.number) <= self.slack then return true end
	end
	self.claims[server] = { number = head.number, ms = now }
	return now - self.seen_ms >= self.max_age_ms
end

-- Whether a second server, not the one that says otherwise now, has shown about the highest height.
local function has_second(self, server)
	for other, head in pairs(self.used_of) do
		local is_second = other ~= server and other ~= self.highest.server
		if is_second and head.number >= self.highest.number - self.slack then return true end
	end
	return false
end

-- Whether a lower height stands against the word of one server alone: another's, or its own. One that lags has an
-- old head.
local function may_contradict(self, head, server)
	if not self.any_alone or has_second(self, server) then return false end
	return self.wall_ms() - head.time_ms <= RECENT_MS
end

-- Whether a server gives the same block, or one before it, a new time again and again.
local function is_restamped(self, head, server)
	local before = self.stamps[server]
	if before and head.number <= before.number and head.number >= before.number - self.confirmations then
		return head.time_ms - before.time_ms > RESTAMP_MS
	end
	self.stamps[server] = head
	return false
end

--- Checks a head { number, time_ms }.
-- @param server that gave it
-- @return true | nil, message
function Height:check(head, server)
	local highest = self.highest
	if highest and not may_have_grown(self, head, server) and not is_borne_out(self, head, server) then
		return nil, ("the height jumped from %d to %d"):format(highest.number, head.number)
	end
	local fell = highest and head.number < highest.number - self.confirmations
	if fell and not may_contradict(self, head, server) and not is_borne_out(self, head, server) then
		return nil, ("the height fell from %d to %d"):format(highest.number, head.number)
	end
	if is_restamped(self, head, server) then
		return nil, ("the height stayed at %d while its time went on"):format(head.number)
	end
	return true
end

--- Records the head that is used.
-- @param head { number, time_ms, server }
function Height:used(head)
	local highest = self.highest
	local fell = highest and head.number < highest.number - self.confirmations
	if fell then
		self.log:warn("the height fell: the one before it was one server's word, or nobody has shown it for a while", {
			from = highest.number, to = head.number,
		})
	end
	if fell or not highest or head.number >= highest.number then self.highest = head end
	self.seen_ms, self.claims = self.mono_ms(), {}
	self.used_of[head.server] = head
end

--- Whether nothing is known yet to compare a height with.
function Height:is_unknown()
	return self.highest == nil
end

--- @param deps confirmations, max_age_ms, log, mono_ms, wall_ms; any_alone: whether there are several servers, of which
-- one alone is believed
function M.new(deps)
	local self = needs.take(deps, "confirmations max_age_ms log mono_ms wall_ms any_alone")
	self.slack = math.max(self.confirmations, FEW_BLOCKS)
	self.claims = {} -- of heights that are not plausible, by server
	self.used_of = {} -- the head last used of each server
	self.stamps = {} -- the first block of its height that each server has shown
	return setmetatable(self, Height)
end

return M
