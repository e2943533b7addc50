--- Whether a head's height is plausible beside the heights before it. It never falls by more than the confirmations,
-- and never grows faster than blocks can be made: otherwise one server's absurd height would make all others look
-- behind.
--
-- What is not plausible is believed when a second server says about the same, or when it has been said for max_age_ms
-- and nobody has shown the height before it meanwhile.

local needs = require("kms.base.needs")

local M = {}

local Height = {}
Height.__index = Height

local BLOCKS_PER_S = 10 -- more than chains of this kind make
local SLACK = 1000 -- blocks by which servers may differ, and a height may jump
local CLAIM_MS = 60000 -- how long a claim waits for another server's

-- How many blocks more there may be since the highest head.
local function growth(self, head)
	return SLACK + BLOCKS_PER_S * math.max(0, head.time_ms - self.highest.time_ms) // 1000
end

-- Whether another server has lately claimed about the same jump, or nothing else was shown for max_age_ms.
local function is_borne_out(self, head, server)
	local now = self.mono_ms()
	for other, claim in pairs(self.claims) do
		local is_recent = now - claim.ms <= CLAIM_MS
		if other ~= server and is_recent and math.abs(claim.number - head.number) <= SLACK then return true end
	end
	self.claims[server] = { number = head.number, ms = now }
	return now - self.seen_ms >= self.max_age_ms
end

--- Checks a head { number, time_ms }.
-- @param server that gave it
-- @return true | nil, message
function Height:check(head, server)
	local highest = self.highest
	if not highest then return true end
	if head.number > highest.number + growth(self, head) then
		if is_borne_out(self, head, server) then return true end
		return nil, ("the height jumped from %d to %d"):format(highest.number, head.number)
	end
	if head.number >= highest.number - self.confirmations then return true end
	if self.mono_ms() - self.seen_ms >= self.max_age_ms then return true end
	return nil, ("the height fell from %d to %d"):format(highest.number, head.number)
end

--- Records the head that is used.
function Height:used(head)
	local highest = self.highest
	local fell = highest and head.number < highest.number - self.confirmations
	if fell then
		self.log:warn("the height fell: nobody has shown the one before it for a while", {
			from = highest.number, to = head.number, seconds = self.max_age_ms // 1000,
		})
	end
	if fell or not highest or head.number >= highest.number then self.highest = head end
	self.seen_ms, self.claims = self.mono_ms(), {}
end

--- Whether nothing is known yet to compare a height with.
function Height:is_unknown()
	return self.highest == nil
end

--- @param deps confirmations, max_age_ms, log, mono_ms
function M.new(deps)
	local self = needs.take(deps, "confirmations max_age_ms log mono_ms")
	self.claims = {} -- of heights that are not plausible, by server
	return setmetatable(self, Height)
end

return M
