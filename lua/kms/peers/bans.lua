--- Bans of peers by the rules of blacklist.lua. A rule bans a peer after `count` events within `within`
-- seconds; events that anybody on the way can cause must come in a row. With `grow`, each further ban by the same
-- rule lasts twice as long. Times are arguments.
--
-- A ban of scope "calls" stops this node from calling the peer. Scope "all" also refuses the peer's /sync.

local needs = require("kms.base.needs")

local M = {}

local Bans = {}
Bans.__index = Bans

local MAX_BAN_MS = 24 * 3600 * 1000 -- growing stops here
-- Events of calls that anybody on the way can cause.
local IN_A_ROW = { bad_response_signature = true, bad_envelope = true, private_address = true }
local MAX_WALLETS = 4096 -- entries kept; a cluster has fewer members

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
		-- By key of a rule: times of its events (ms), bans so far. By event: how many. By scope: the newest ban.
		entry = { event_times = {}, ban_counts = {}, event_counts = {}, bans = {} }
		self.entries[wallet], self.size = entry, self.size + 1
	end
	entry.touched_ms = mono_ms
	return entry
end

-- The key of a rule's counts. Not its number alone: after a reload another rule may have that number.
local function key_of(number, rule)
	return rule.event .. "/" .. (rule.name or number)
end

-- Adds an event; whether the peer now has rule.count events within rule.within seconds. At most
-- rule.count times are kept.
local function exceeds(entry, key, rule, mono_ms)
	local times = entry.event_times[key] or {}
	entry.event_times[key] = times
	times[#times + 1] = mono_ms
	while #times > 0 and mono_ms - times[1] > rule.within * 1000 do table.remove(times, 1) end
	if #times < rule.count then return false end
	entry.event_times[key] = nil
	return true
end

local function set_ban(entry, event, scope, duration_ms, mono_ms, rule)
	local old = entry.bans[scope]
	local until_ms = mono_ms + duration_ms
	-- A new ban never shortens the one in force.
	if old and old.until_ms >= until_ms then return old end
	local ban = { scope = scope, since_ms = mono_ms, until_ms = until_ms, event = event, rule = rule }
	entry.bans[scope] = ban
	return ban
end

local function by_rule(self, entry, number, rule, mono_ms)
	local key = key_of(number, rule)
	if not exceeds(entry, key, rule, mono_ms) or not self.policy:count_ban(number) then return nil end
	local earlier = entry.ban_counts[key] or 0
	entry.ban_counts[key] = earlier + 1
	local duration_ms = rule.ban and rule.ban * 1000 or self.ban_ms
	if rule.grow then
		duration_ms = math.max(duration_ms, math.min(duration_ms * (1 << math.min(earlier, 16)), MAX_BAN_MS))
	end
	return set_ban(entry, rule.event, rule.scope, duration_ms, mono_ms, rule.name or rule.event)
end

--- Records an event of a peer, and bans the peer when a rule or the policy's `decide` says so.
-- @param wallet of the peer
-- @param event its name (kms.policy.schema.EVENTS)
-- @param mono_ms monotonic time, ms
-- @param facts { url } for blacklist.decide, or nil
-- @return the ban in force after it { scope, since_ms, until_ms (monotonic ms), event, rule }, or nil
function Bans:record(wallet, event, mono_ms, facts)
	local rules, exempt = self.policy:ban_rules()
	if exempt[wallet] then return nil end
	local entry = entry_of(self, wallet, mono_ms)
	entry.event_counts[event] = (entry.event_counts[event] or 0) + 1
	local decided = self.policy:decide_ban({
		event = event, wallet = wallet, url = facts and facts.url, count = entry.event_counts[event], now = self.wall_ms(),
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

--- Forgets the events of calls that only count in a row: the wallet's peer has given a good response.
function Bans:end_row(wallet)
	local entry = self.entries[wallet]
	if not entry then return end
	for key in pairs(entry.event_times) do
		if IN_A_ROW[key:match("^[^/]+")] then entry.event_times[key] = nil end
	end
end

local function running(entry, scope, mono_ms)
	local ban = entry.bans[scope]
	return ban and mono_ms < ban.until_ms and ban or nil
end

--- The ban that stops this node from calling a peer now, or nil.
-- @param mono_ms monotonic time, ms
function Bans:calls(wallet, mono_ms)
	local entry = self.entries[wallet]
	return entry and (running(entry, "all", mono_ms) or running(entry, "calls", mono_ms))
end

--- The ban that refuses a peer's requests now, or nil.
-- @param mono_ms monotonic time, ms
function Bans:all(wallet, mono_ms)
	local entry = self.entries[wallet]
	return entry and running(entry, "all", mono_ms)
end

--- The bans in force, sorted by wallet and scope.
-- @param mono_ms monotonic time, ms
-- @return list of { wallet, scope, event, rule, since_ms, until_ms (monotonic ms) }
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

--- Lifts all bans of a wallet and forgets its events.
-- @return whether the wallet had any
function Bans:lift(wallet)
	if not self.entries[wallet] then return false end
	self.entries[wallet], self.size = nil, self.size - 1
	return true
end

--- @param deps policy (kms.policy: ban_rules, decide_ban, count_ban); ban_ms (how long a ban lasts when its rule
--   does not say); wall_ms (function -> Unix time, ms)
function M.new(deps)
	local self = needs.take(deps, "policy ban_ms wall_ms")
	self.entries, self.size = {}, 0 -- by wallet
	return setmetatable(self, Bans)
end

return M
