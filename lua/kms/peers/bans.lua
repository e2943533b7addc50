--- Bans of peers by the rules of blacklist.lua: what counts, how often within how long, for how
-- long the peer is then ignored, growing for those who come again. Times are arguments.
--
-- Scope "calls": this node does not call the peer. Scope "all": its /sync is refused as well.

local M = {}

local Bans = {}
Bans.__index = Bans

local MAX_BAN_MS = 24 * 3600 * 1000 -- that growing leads to
local MAX_WALLETS = 4096 -- that are remembered; members of a cluster are fewer

local function forget_oldest(self)
	local oldest
	for wallet, entry in pairs(self.entries) do
		if not oldest or entry.touched_ms < self.entries[oldest].touched_ms then oldest = wallet end
	end
	self.entries[oldest], self.size = nil, self.size - 1
end

local function entry_of(self, wallet, mono_ms)
	local entry = self.entries[wallet]
	if not entry then
		if self.size >= MAX_WALLETS then forget_oldest(self) end
		entry = { seen = {}, times = {}, counts = {}, bans = {} }
		self.entries[wallet], self.size = entry, self.size + 1
	end
	entry.touched_ms = mono_ms
	return entry
end

-- What a rule's counts are kept under: after a reload another rule may stand at its number.
local function key_of(number, rule)
	return rule.event .. "/" .. (rule.name or number)
end

-- Whether this event is one too many for a rule: its times are kept, as few as the rule counts.
local function exceeds(entry, key, rule, mono_ms)
	local seen = entry.seen[key] or {}
	entry.seen[key] = seen
	seen[#seen + 1] = mono_ms
	while #seen > 0 and mono_ms - seen[1] > rule.within * 1000 do table.remove(seen, 1) end
	if #seen < rule.count then return false end
	entry.seen[key] = nil
	return true
end

local function set_ban(entry, event, scope, duration_ms, mono_ms, rule)
	local old = entry.bans[scope]
	local until_ms = mono_ms + duration_ms
	-- A short ban never ends a long one.
	if old and old.until_ms >= until_ms then return old end
	local ban = { scope = scope, since_ms = mono_ms, until_ms = until_ms, event = event, rule = rule }
	entry.bans[scope] = ban
	return ban
end

local function by_rule(self, entry, number, rule, mono_ms)
	local key = key_of(number, rule)
	if not exceeds(entry, key, rule, mono_ms) then return nil end
	local times = entry.times[key] or 0
	entry.times[key] = times + 1
	self.policy:count_ban(number)
	local duration_ms = rule.ban and rule.ban * 1000 or self.ban_ms
	if rule.grow then
		duration_ms = math.max(duration_ms, math.min(duration_ms * (1 << math.min(times, 16)), MAX_BAN_MS))
	end
	return set_ban(entry, rule.event, rule.scope, duration_ms, mono_ms, rule.name or rule.event)
end

--- Records an event of a peer.
-- @param event name (kms.policy.schema.EVENTS)
-- @param facts { url }, for a policy that decides itself, or nil
-- @return the ban that it led to { scope, since_ms, until_ms, event, rule }, or nil
function Bans:record(wallet, event, mono_ms, facts)
	local rules, exempt = self.policy:ban_rules()
	if exempt[wallet] then return nil end
	local entry = entry_of(self, wallet, mono_ms)
	entry.counts[event] = (entry.counts[event] or 0) + 1
	local decided = self.policy:decide_ban({
		event = event, wallet = wallet, url = facts and facts.url, count = entry.counts[event], now = self.wall_ms(),
	})
	if decided then
		if decided.seconds == 0 then return nil end
		return set_ban(entry, event, decided.scope, math.floor(decided.seconds * 1000), mono_ms, "decide")
	end
	local ban
	for number, rule in ipairs(rules) do
		if rule.event == event then ban = by_rule(self, entry, number, rule, mono_ms) or ban end
	end
	return ban
end

local function running(entry, scope, mono_ms)
	local ban = entry.bans[scope]
	return ban and mono_ms < ban.until_ms and ban or nil
end

--- The ban that keeps this node from calling a peer, or nil.
function Bans:calls(wallet, mono_ms)
	local entry = self.entries[wallet]
	return entry and (running(entry, "all", mono_ms) or running(entry, "calls", mono_ms))
end

--- The ban that keeps a peer from being heard, or nil.
function Bans:all(wallet, mono_ms)
	local entry = self.entries[wallet]
	return entry and running(entry, "all", mono_ms)
end

--- Bans in force, sorted: list of { wallet, scope, event, rule, since_ms, until_ms }.
function Bans:list(mono_ms)
	local list = {}
	for wallet, entry in pairs(self.entries) do
		for scope in pairs(entry.bans) do
			local ban = running(entry, scope, mono_ms)
			if ban then
				list[#list + 1] = {
					wallet = wallet, scope = scope, event = ban.event, rule = ban.rule,
					since_ms = ban.since_ms, until_ms = ban.until_ms,
				}
			end
		end
	end
	table.sort(list, function(a, b) return a.wallet .. a.scope < b.wallet .. b.scope end)
	return list
end

--- Lifts all bans of a wallet, and what led to them.
-- @return whether there was anything
function Bans:lift(wallet)
	if not self.entries[wallet] then return false end
	self.entries[wallet], self.size = nil, self.size - 1
	return true
end

--- @param policy  of kms.policy
-- @param ban_ms   how long a ban lasts where its rule says nothing else
-- @param wall_ms  function() -> Unix ms
function M.new(policy, ban_ms, wall_ms)
	return setmetatable({ policy = policy, ban_ms = ban_ms, wall_ms = wall_ms, entries = {}, size = 0 }, Bans)
end

return M
