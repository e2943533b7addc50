--- Compares this node's clock with the chain's head and with the members' clocks (docs/protocol.md section 10). A write
-- that is stamped ahead of the others' clocks is acknowledged and then taken by nobody, so a node whose clock is wrong
-- refuses writes and goes on reading.
--
-- Behind the head is proof. Otherwise the majority of at least three clocks decides, this one included: heads lag, and
-- one member may lie. Only what a member says in an authentic reply to this node's request counts.

local needs = require("kms.base.needs")

local M = {}

local Check = {}
Check.__index = Check

local SAMPLE_MS = 600000 -- how long what a member said counts
local MAX_TRIP_MS = 2000 -- an exchange that took longer says little about the time
local FEWEST = 3 -- clocks that a majority needs
local WARN_S = 600

-- By how much a member's clock is ahead of this node's, in ms | nil: not known.
local function offset_of(self, peer)
	local sample, now = peer.time_sample, self.mono_ms()
	if not sample or now - sample.mono_ms > SAMPLE_MS then return nil end
	return sample.ahead_ms + now - self.wall_ms()
end

-- How many clocks are known, this one included, and of the members' the offsets beyond the skew: those of clocks
-- before and those of clocks behind this one's.
local function compare(self)
	local clocks, before, behind = 1, {}, {}
	for _, peer in ipairs(self.peers:others()) do
		local offset = offset_of(self, peer)
		if offset then clocks = clocks + 1 end
		if offset and math.abs(offset) > self.skew_ms then
			local list = offset > 0 and before or behind
			list[#list + 1] = math.abs(offset)
			self.log:limited("clock " .. peer.wallet, WARN_S, "warn", "the clock of a member differs", {
				peer = peer.wallet, offset_ms = offset,
			})
		end
	end
	return clocks, before, behind
end

local function by_majority(clocks, offsets, word)
	if clocks < FEWEST or #offsets * 2 <= clocks then return nil end
	local least_s = math.min(table.unpack(offsets)) // 1000
	return ("clock: %d s %s %d of %d clocks"):format(least_s, word, #offsets, clocks)
end

local function judge(self)
	local clocks, before, behind = compare(self)
	local reason
	if self.behind_head_ms > self.skew_ms then
		reason = ("clock: %d s behind the chain"):format(self.behind_head_ms // 1000)
	else
		reason = by_majority(clocks, behind, "ahead of") or by_majority(clocks, before, "behind")
	end
	if (reason ~= nil) ~= (self.reason ~= nil) then
		if reason then
			self.log:error("the clock is wrong: writes are refused", { reason = reason })
		else
			self.log:info("the clock is right again: writes are accepted", {})
		end
	end
	self.reason = reason
end

--- Compares with the head, at each tick.
-- @param head_ms Unix time of the newest block in ms
function Check:head(head_ms)
	self.behind_head_ms = head_ms - self.wall_ms()
	judge(self)
end

--- Compares with what a member said in an authentic reply.
-- @param time_ms Unix time in ms by the member's clock
-- @param sent_ms, got_ms when the request was sent and the reply came, monotonic
function Check:heard(peer, time_ms, sent_ms, got_ms)
	if got_ms - sent_ms > MAX_TRIP_MS then return end
	-- Kept relative to the monotonic clock, which no step of this node's clock changes.
	peer.time_sample = { ahead_ms = time_ms - (sent_ms + got_ms) // 2, mono_ms = got_ms }
	judge(self)
end

--- For /status and /metrics.
-- @return { writes_refused: why, or nil; behind_head_ms: above 0 when the head is ahead of this node's clock;
--   members: by wallet the ms by which its clock is ahead of this node's }
function Check:status()
	local members = {}
	for _, peer in ipairs(self.peers:others()) do members[peer.wallet] = offset_of(self, peer) end
	return { writes_refused = self.reason, behind_head_ms = self.behind_head_ms, members = members }
end

--- @param deps peers (kms.peers); wall_ms (the node's clock), mono_ms; skew_ms (MAX_CLOCK_SKEW_MS); log
-- @return check; its field `reason` says why writes are refused, nil while they are not
function M.new(deps)
	local self = needs.take(deps, "peers wall_ms mono_ms skew_ms log")
	self.behind_head_ms = 0
	return setmetatable(self, Check)
end

return M
