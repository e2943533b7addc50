--- Calls of hooks: which set's hook is called, what replaces it when it fails, and how long calls
-- are kept from blocking the loop.
--
-- A call that fails may have spent its whole budget, which takes milliseconds of the loop. The hook is
-- then at rest for REST_FACTOR times as long as the call took, for the same application (or peer)
-- only; until then every call fails immediately. So failing calls take at most a hundredth of the
-- loop's time. Whether a hook rests depends on the work that was counted, the same on every
-- machine; for how long, on the time that passed, since the loop's time is what is limited.
--
-- Rules that the operator has suspended (kms.policy.suspensions) are called like all others.

local effects = require("kms.policy.effects")
local hooks = require("kms.policy.hooks")
local lru = require("kms.base.lru")
local needs = require("kms.base.needs")
local uv = require("luv")

local M = {}

local Calls = {}
Calls.__index = Calls

local RENEW_EVERY_MS = 1000
local LOG_EVERY_S = 60
local REST_FACTOR = 100
local LONG_WORK = 25000 -- units of work (csrc/policy/vm.h); after failures with less it does not rest
local MAX_RESTING = 4096 -- hooks by application or peer that are remembered

-- Restarts a VM that policies have filled with data that they keep, at most once a second.
local function renew(self, mono_ms)
	if mono_ms - self.renewed_ms < RENEW_EVERY_MS then return end
	local used, cap = self.set.vm:memory()
	if used * 2 < cap then return end
	self.renewed_ms = mono_ms
	local ok, message = self.set:renew()
	if not ok and self.log then
		self.log:limited("policy memory", LOG_EVERY_S, "warn", "policies cannot start anew", { cause = message })
	end
	if self.peers_facts then self.set.vm:provide("peers", self.peers_facts) end
end

-- What the log may have of a message. A policy's error() can carry names of keys; messages of Lua itself have none.
local function loggable(self, message, why)
	if why ~= "error" then return message end
	local place, text = message:match("^([^:]+:%d+: )(.*)$")
	if not place then place, text = "", message end
	if text:find("^attempt to ") or text:find("^bad argument ") then return message end
	return place .. self.log:name(text)
end

local function failed(self, path, message, why, mono_ms)
	self.failures = self.failures + 1
	self.hit_counts:count(path, nil, "failed", mono_ms)
	self.own_counters:add("failures", { hook = path:gsub("%.", "_"), why = why })
	if self.log then
		local fields = { hook = path, cause = loggable(self, message, why), why = why }
		self.log:limited("policy " .. path, LOG_EVERY_S, "warn", "a policy failed", fields)
	end
	if why == "memory" then renew(self, mono_ms) end
end

-- The set whose hook is called: the operator's, or the shipped one when that has no such member.
local function set_for(self, path)
	local chosen = self.chosen[path]
	if not chosen then
		chosen = self.set:has(path) and self.set or self.shipped
		self.chosen[path] = chosen
	end
	return chosen
end

local function call_vm(self, vm, path, kind, ...)
	local suspended = self.suspensions:of_hook(path)
	if not suspended then return vm:call(path, kind, self.wall_ms(), self.mono_ms(), ...) end
	return vm:call_past(path, kind, self.wall_ms(), self.mono_ms(), suspended.rules, ...)
end

-- Calls the hook of a set.
-- @return result, number of the rule that decided (or nil), list of suspended rules that refused (or nil), effects |
--   nil, message, why, effects
local function call(self, set, path, kind, ...)
	self.last_set = set
	local result, effects_or_message, rule, through_or_why, list = call_vm(self, set.vm, path, kind, ...)
	if result ~= nil then return result, rule, through_or_why, effects_or_message end
	return nil, effects_or_message, through_or_why, list
end

-- A hook rests only for the application or peer that made it run long.
local function rest_key(path, facts)
	local whose
	if type(facts) == "table" then
		-- All peers belong to one application, so they are told apart by wallet.
		whose = facts.from or (path:find("^access%.") and facts.app_id or facts.wallet)
	end
	return path .. " " .. tostring(whose)
end

local function rest_long(self, path, facts, why, work, took_ns, mono_ms)
	if why ~= "overrun" and why ~= "memory" and work < LONG_WORK then return end
	self.resting:put(rest_key(path, facts), true, mono_ms + took_ns * REST_FACTOR // 1000000)
end

local function is_resting(self, path, facts)
	return self.resting.size > 0 and self.resting:get(rest_key(path, facts), self.mono_ms())
end

-- What replaces the result of a hook that failed: the shipped hook's, unless a failure must refuse.
local function replacement(self, failed_set, path, kind, ...)
	if failed_set == self.shipped or (hooks.HOOKS[path] or hooks.EXTRA).closed then return nil end
	return (call(self, self.shipped, path, kind, ...))
end

--- Calls a hook. A failure is counted and logged here.
-- @param path of the hook ("access.derive")
-- @param kind of its result, as policy_vm's call names it
-- @param ... the hook's arguments
-- @return result, number of the rule that decided (nil: the hook is no list of rules), list of the numbers of suspended
--   rules that refused (or nil) | nil: it failed, and nothing replaces it
function Calls:ask(path, kind, ...)
	local set = set_for(self, path)
	if is_resting(self, path, (...)) then
		failed(self, path, "it rests, since it ran too long", "resting", self.mono_ms())
		return replacement(self, set, path, kind, ...)
	end
	local begun, vm = uv.hrtime(), set.vm
	local result, rule_or_message, through_or_why, list = call(self, set, path, kind, ...)
	if list then effects.apply(self, path, list) end
	if result ~= nil then return result, rule_or_message, through_or_why end
	local mono_ms = self.mono_ms()
	local work = vm:work() -- before a restart, which closes the VM
	failed(self, path, rule_or_message, through_or_why, mono_ms)
	rest_long(self, path, (...), through_or_why, work, uv.hrtime() - begun, mono_ms)
	return replacement(self, set, path, kind, ...)
end

--- Whether a hook exists. If not, its facts need not be gathered.
function Calls:wants(path)
	local wanted = self.wanted[path]
	if wanted == nil then
		wanted = self.set:has(path) or self.shipped:has(path)
		self.wanted[path] = wanted
	end
	return wanted
end

--- Puts a set in force.
-- @param set kms.policy.set
-- @param hit_counts kms.policy.hit_counts of the set
function Calls:use(set, hit_counts)
	self.set, self.hit_counts = set, hit_counts
	self.chosen, self.wanted = {}, {} -- by path of a hook: the set that has it, and whether any does
	self.resting:clear()
	if self.peers_facts then set.vm:provide("peers", self.peers_facts) end
end

--- Sets what kms.peers() returns from now on.
-- @param list of peers' facts
-- @return true | nil, message: the list is too large, and the one before stays
function Calls:provide_peers(list)
	local ok, message = self.set.vm:provide("peers", list)
	if not ok then return nil, message end
	self.peers_facts = list
	return true
end

--- Where the last call returned, in a VM with trace only.
-- @return file, line | nil
function Calls:decided()
	return self.last_set.vm:decided()
end

--- @param deps shipped (kms.policy.set of the shipped files); counters (kms.count of policies) and own_counters (of
--   the node, about policies), both kms.policy.counters; suspensions (kms.policy.suspensions); wall_ms; mono_ms; log,
--   or nil
-- @return calls, for which use() must be called next; `failures`: how many calls failed since the start
function M.new(deps)
	local self = needs.take(deps, "shipped counters own_counters suspensions wall_ms mono_ms", "log")
	self.failures, self.renewed_ms, self.resting = 0, -RENEW_EVERY_MS, lru.new(MAX_RESTING)
	return setmetatable(self, Calls)
end

return M
