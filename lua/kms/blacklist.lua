--- Which misbehaviour of a peer counts, how often, and for how long the peer is then ignored
-- (wire-protocol section 11). The one place that decides it.
--
-- Scope "calls": this node does not call the peer. Scope "all": its /sync is refused as well, and
-- only evidence that nobody but the peer can have made (EVIDENCE) leads there: whoever replays or
-- garbles messages must not get the innocent banned.

local M = {}

local Blacklist = {}
Blacklist.__index = Blacklist

--- Events that the peer's own envelope authenticates.
M.EVIDENCE = {
	wrong_master_secret = true, poisoned_records = true, rejected_records = true, identity_mismatch = true,
}

-- event, how many within how many seconds, scope; ban_s: seconds (nil: the configured duration);
-- grow: each further ban lasts twice as long.
local RULES = {
	{ event = "bad_response_signature", count = 1, within_s = 60, scope = "calls" },
	{ event = "bad_envelope", count = 1, within_s = 60, scope = "calls" },
	{ event = "invalid_url", count = 1, within_s = 60, scope = "calls" },
	{ event = "private_address", count = 1, within_s = 60, scope = "calls" },
	{ event = "wrong_master_secret", count = 2, within_s = 600, scope = "all", grow = true },
	{ event = "poisoned_records", count = 3, within_s = 60, scope = "all" },
}

local MAX_BAN_MS = 24 * 3600 * 1000
local MAX_WALLETS = 4096 -- that are remembered; members of a cluster are fewer

local function rule_for(event)
	for _, rule in ipairs(RULES) do
		if rule.event == event then return rule end
	end
	return nil
end

-- What is remembered of a wallet; the oldest goes where there are too many.
local function entry_of(self, wallet, mono_ms)
	local entry = self.entries[wallet]
	if entry then return entry end
	if self.count >= MAX_WALLETS then
		local oldest
		for name, other in pairs(self.entries) do
			if not oldest or other.since_ms < self.entries[oldest].since_ms then oldest = name end
		end
		self.entries[oldest], self.count = nil, self.count - 1
	end
	entry = { since_ms = mono_ms, seen = {}, bans = {}, times = {} }
	self.entries[wallet], self.count = entry, self.count + 1
	return entry
end

-- Whether this event is one too many: the times of the earlier ones are kept, as few as count.
local function exceeds(entry, rule, mono_ms)
	local seen = entry.seen[rule.event] or {}
	entry.seen[rule.event] = seen
	seen[#seen + 1] = mono_ms
	while #seen > 0 and mono_ms - seen[1] > rule.within_s * 1000 do table.remove(seen, 1) end
	if #seen < rule.count then return false end
	entry.seen[rule.event] = {}
	return true
end

--- Notes an event of a peer.
-- @param event a name of a rule, or another one, which counts for nothing yet
-- @return the ban that it led to { scope, until_ms, event }, or nil
function Blacklist:note(wallet, event, mono_ms)
	local rule = rule_for(event)
	if not rule then return nil end
	local entry = entry_of(self, wallet, mono_ms)
	if not exceeds(entry, rule, mono_ms) then return nil end
	local times = entry.times[event] or 0
	entry.times[event] = times + 1
	local duration = rule.ban_s and rule.ban_s * 1000 or self.ban_ms
	if rule.grow then duration = math.min(duration * (1 << math.min(times, 16)), MAX_BAN_MS) end
	local ban = { scope = rule.scope, until_ms = mono_ms + duration, event = event }
	entry.bans[rule.scope] = ban
	return ban
end

local function running(entry, scope, mono_ms)
	local ban = entry.bans[scope]
	return ban and mono_ms < ban.until_ms and ban or nil
end

--- The ban that keeps this node from calling a peer, or nil.
function Blacklist:calls(wallet, mono_ms)
	local entry = self.entries[wallet]
	return entry and (running(entry, "all", mono_ms) or running(entry, "calls", mono_ms))
end

--- The ban that keeps a peer from being heard, or nil.
function Blacklist:all(wallet, mono_ms)
	local entry = self.entries[wallet]
	return entry and running(entry, "all", mono_ms)
end

--- @param ban_ms how long a ban lasts where its rule says nothing else
function M.new(ban_ms)
	return setmetatable({ ban_ms = ban_ms, entries = {}, count = 0 }, Blacklist)
end

for _, rule in ipairs(RULES) do
	assert(rule.scope ~= "all" or M.EVIDENCE[rule.event], "only evidence may silence a peer")
end

return M
