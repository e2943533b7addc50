--- Rules that the operator has suspended for a time. A suspended rule is still asked and counted, but what it refuses
-- goes on; one that fails refuses as ever. Suspensions are in memory only: none outlives the process.
--
-- They end on the monotonic clock, which nobody sets. Each look at them ends those whose time is over, so that none
-- lasts longer because a timer is late.

local native = require("kms_native")
local needs = require("kms.base.needs")
local suspendable = require("kms.policy.suspendable")

local M = {}

local Suspensions = {}
Suspensions.__index = Suspensions

--- Limits: seconds of one, how many at once, how many that ended are remembered.
M.MAX_SECONDS, M.MAX, M.MAX_ENDED = 24 * 3600, 16, 32

local RULE_BYTES = 32 -- of a set of rules (csrc/policy/vm.h)
local ALL = ("\255"):rep(RULE_BYTES)

-- ---- what is suspended now ---------------------------------------------------------------------------

-- A set of rules in 32 bytes, of a list of their numbers.
local function set_of(numbers)
	local bytes = {}
	for i = 1, RULE_BYTES do bytes[i] = 0 end
	for _, number in ipairs(numbers) do
		local at = (number - 1) // 8 + 1
		bytes[at] = bytes[at] | 1 << (number - 1) % 8
	end
	return string.char(table.unpack(bytes))
end

-- The hash of the policies in force: of the files alone, or with what is suspended of them.
local function hash_of(self)
	if #self.list == 0 then return self.set_hash end
	local names = {}
	for i, one in ipairs(self.list) do names[i] = one.rule.full_name end
	table.sort(names)
	local text = ("NovaKMS:Suspended:%s:%s"):format(self.set_hash, table.concat(names, ","))
	return native.hex_encode(native.sha256(text))
end

-- Makes what calls look up: by hook, whether it is suspended as a whole, and the set of its suspended rules.
local function index(self)
	local by_hook, numbers = {}, {}
	for _, one in ipairs(self.list) do
		local hook, number = one.rule.hook, one.rule.number
		by_hook[hook] = by_hook[hook] or { whole = false }
		numbers[hook] = numbers[hook] or {}
		if number then table.insert(numbers[hook], number) else by_hook[hook].whole = true end
	end
	for hook, entry in pairs(by_hook) do entry.rules = entry.whole and ALL or set_of(numbers[hook]) end
	self.by_hook, self.hash_in_force = by_hook, hash_of(self)
	self.next_end_ms = math.maxinteger
	for _, one in ipairs(self.list) do self.next_end_ms = math.min(self.next_end_ms, one.until_ms) end
end

local function is_suspended(self, name)
	for _, one in ipairs(self.list) do
		if one.rule.full_name == name then return true end
	end
	return false
end

-- Returns whether nobody who listens has refused.
local function tell(self, change)
	local accepted = true
	for _, fn in ipairs(self.listeners) do accepted = fn(change) ~= false and accepted end
	return accepted
end

-- Remembers one that is over. `by`: uid of who ended it, or nil.
local function remember(self, one, cause, by)
	one.ended_ms, one.cause, one.ended_uid = math.min(self.mono_ms(), one.until_ms), cause, by
	one.rule = { full_name = one.rule.full_name } -- nothing of an old set is kept
	table.insert(self.ended, one)
	if #self.ended > M.MAX_ENDED then table.remove(self.ended, 1) end
	if self.log then
		self.log:warn("policy rule no longer suspended", { rule = one.rule.full_name, cause = cause, uid = by })
	end
end

local function ends_before(a, b)
	if a.until_ms ~= b.until_ms then return a.until_ms < b.until_ms end
	return a.rule.full_name < b.rule.full_name
end

-- Ends those for which is_over(suspension) is true; what ends first stands first everywhere.
local function finish(self, cause, by, is_over)
	local over, left = {}, {}
	for _, one in ipairs(self.list) do table.insert(is_over(one) and over or left, one) end
	table.sort(over, ends_before)
	self.list = left
	for _, one in ipairs(over) do remember(self, one, cause, by) end
	index(self)
	for _, one in ipairs(over) do tell(self, { ended = one }) end
end

local function finish_rule(self, name, cause, by)
	finish(self, cause, by, function(one) return one.rule.full_name == name end)
end

--- Ends those whose time is over.
function Suspensions:expire()
	local now = self.mono_ms()
	if now < self.next_end_ms then return end
	finish(self, "time", nil, function(one) return one.until_ms <= now end)
end

--- Ends all, and lets none begin: the node stops.
function Suspensions:stop()
	self.stopped = true
	self:expire()
	finish(self, "stop", nil, function() return true end)
end

--- What calls of a hook must know.
-- @return { rules: the set of its suspended rules in 32 bytes (all, where the hook itself is suspended), whole } | nil
function Suspensions:of_hook(path)
	if #self.list == 0 then return nil end
	self:expire()
	return self.by_hook[path]
end

--- Whether a hook is suspended itself, not rules of its list.
function Suspensions:has_whole(path)
	local entry = self:of_hook(path)
	return entry ~= nil and entry.whole
end

--- The hash of the policies in force, as 64 lower-case hexadecimal digits: that of the set, or, while rules are
-- suspended, SHA-256("NovaKMS:Suspended:<hash of the set>:<names of the rules, sorted, with commas between>").
function Suspensions:hash()
	if #self.list > 0 then self:expire() end
	return self.hash_in_force
end

-- ---- what the operator does --------------------------------------------------------------------------

--- Suspends a rule. One that is suspended already gets a new end.
-- @param name as in kms.policy.hit_counts' full_name
-- @param seconds whole number from 1 to MAX_SECONDS
-- @param given { why (printable text, or nil), uid (of who asks, or nil) }
-- @return suspension { rule, since_ms, until_ms (monotonic ms), why, uid } | nil, message
function Suspensions:add(name, seconds, given)
	self:expire()
	if self.stopped then return nil, "the node stops, and all its rules are in force" end
	local rule, message = suspendable.find(self.rules, name)
	if not rule then return nil, message end
	if math.type(seconds) ~= "integer" or seconds < 1 or seconds > M.MAX_SECONDS then
		return nil, ("the time of a suspension is 1 to %d seconds (24h)"):format(M.MAX_SECONDS)
	end
	local renewed = is_suspended(self, name)
	if not renewed and #self.list >= M.MAX then
		return nil, ("%d rules are suspended, and that is the limit: resume one first"):format(M.MAX)
	end
	if renewed then finish_rule(self, name, "renewed", given.uid) end
	local now = self.mono_ms()
	local one = { rule = rule, since_ms = now, until_ms = now + seconds * 1000, why = given.why, uid = given.uid }
	table.insert(self.list, one)
	index(self)
	if not tell(self, { begun = one, seconds = seconds }) then
		table.remove(self.list)
		index(self)
		return nil, "the audit log has no room for a line about it, and nothing is suspended without one"
	end
	if self.log then
		self.log:warn("policy rule suspended", { rule = name, seconds = seconds, why = given.why, uid = given.uid })
	end
	return one
end

--- Ends a suspension before its time.
-- @param uid of who asks, or nil
-- @return true, whether the rule was suspended | nil, message: there is no such rule
function Suspensions:resume(name, uid)
	self:expire()
	if not is_suspended(self, name) then
		local rule, message = suspendable.find(self.rules, name)
		if rule then return true, false end
		return nil, message
	end
	finish_rule(self, name, "resume", uid)
	return true, true
end

-- ---- the set in force --------------------------------------------------------------------------------

--- To be called when a set is put in force. A suspension goes on where the text of the rule's file is the same, byte
-- for byte: what a rule does depends on no other file. All others end.
-- @param rules list of kms.policy.hit_counts; @param set_hash of the set
function Suspensions:use(rules, set_hash)
	self:expire()
	self.rules, self.set_hash = rules, set_hash
	local by_name = {}
	for _, rule in ipairs(rules) do by_name[rule.full_name] = rule end
	finish(self, "reload", nil, function(one)
		local rule = by_name[one.rule.full_name]
		return not rule or rule.source ~= one.rule.source or rule.number ~= one.rule.number
	end)
	for _, one in ipairs(self.list) do one.rule = by_name[one.rule.full_name] end
end

--- Calls fn({ begun = suspension, seconds } or { ended = suspension with its `cause` }) at each change; when it
-- returns false, the suspension does not begin. Causes: "time", "resume", "renewed" (it is to be suspended anew),
-- "reload", "stop".
function Suspensions:on_change(fn)
	self.listeners[#self.listeners + 1] = fn
end

--- The suspensions in force, the oldest first; and those that ended lately, the oldest first.
-- @return list of suspensions, list of suspensions with ended_ms (monotonic), cause and ended_uid (or
--   nil)
function Suspensions:state()
	self:expire()
	return self.list, self.ended
end

--- @param deps mono_ms (clock); log, or nil
-- @return suspensions, for which use() must be called next
function M.new(deps)
	local self = setmetatable(needs.take(deps, "mono_ms", "log"), Suspensions)
	self.list, self.ended, self.listeners, self.rules, self.set_hash, self.stopped = {}, {}, {}, {}, "", false
	index(self)
	return self
end

return M
