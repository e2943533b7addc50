--- Bounds the lines about refusals: a caller that is refused ten thousand times a minute is a line with a number.

local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")

local M = {}

local Refusals = {}
Refusals.__index = Refusals

local PER_MINUTE = 60 -- lines about one application or member, or about all callers that share a key
local MAX_KEYS = 4096 -- whose lines are counted
local MAX_TOLD = 64 -- keys in the lines of one report; further ones share one
local OTHERS = "others"
local LIMITER_KEY = 32 -- bytes of the longest key that native.limiter takes

--- Whether a refusal gets a line of its own; it is counted otherwise.
-- @param key application, member, or what all callers share that are neither
function Refusals:take(key)
	local bucket = #key <= LIMITER_KEY and key or native.sha256(key)
	if self.limiter:take(bucket, self.mono_ms()) then return true end
	local told = self.counts[key] and key or self.told < MAX_TOLD and key or OTHERS
	if not self.counts[told] then self.told = self.told + 1 end
	self.counts[told] = (self.counts[told] or 0) + 1
	self.suppressed = self.suppressed + 1
	return false
end

--- Gives what was counted, and begins anew.
-- @return table: refusals without a line of their own, by key
function Refusals:report()
	local counts = self.counts
	self.counts, self.told = {}, 0
	return counts
end

--- Whether something was counted since the last report.
function Refusals:has_counts()
	return self.told > 0
end

--- @param deps mono_ms
-- @return refusals; its field `suppressed`: those without a line of their own, since the start
function M.new(deps)
	local self = needs.take(deps, "mono_ms")
	self.limiter = rate_limit.per_minute(PER_MINUTE, MAX_KEYS)
	self.counts, self.told, self.suppressed = {}, 0, 0
	return setmetatable(self, Refusals)
end

return M
