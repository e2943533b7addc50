--- Calls of hooks: which set's hook is called, what replaces it when it fails, and how long calls
-- are kept from blocking the loop.
--
-- A call that fails may have spent its whole budget, which takes milliseconds of the loop. The hook is
-- then suspended for SUSPEND_FACTOR times as long as the call took, for the same application (or peer)
-- only; until then every call fails immediately. So failing calls take at most a hundredth of the
-- loop's time. Whether a hook is suspended depends on the work that was counted, the same on every
-- machine; for how long, on the time that passed, since the loop's time is what is limited.

local hooks = require("kms.policy.hooks")
local lru = require("kms.base.lru")
local notes = require("kms.policy.effects")
local uv = require("luv")

local M = {}

local RENEW_EVERY_MS = 1000
local LOG_EVERY_S = 60
local SUSPEND_FACTOR = 100
local LONG_WORK = 25000 -- units of work (csrc/policy/vm.h); failures after less suspend nothing
local MAX_SUSPENDED = 4096 -- hooks by application or peer that are remembered

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

local function failed(self, path, message, why, mono_ms)
	self.failures = self.failures + 1
	self.rules:count(path, nil, "failed")
	self.own_counters:add("failures", { hook = path:gsub("%.", "_"), why = why })
	if self.log then
		local fields = { hook = path, cause = message, why = why }
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

local function call(self, chosen, path, kind, ...)
	self.asked = chosen
	local result, extra, rule, why, noted = chosen.vm:call(path, kind, self.wall_ms(), self.mono_ms(), ...)
	if result == nil then return nil, extra, why, noted end
	return result, extra, rule
end

-- A hook is suspended only for the application or peer that made it run long.
local function suspension_key(path, facts)
	local whose
	if type(facts) == "table" then
		-- All peers belong to one application, so they are told apart by wallet.
		whose = facts.from or (path:find("^access%.") and facts.app_id or facts.wallet)
	end
	return path .. " " .. tostring(whose)
end

local function suspend_long(self, path, facts, why, work, took_ns, mono_ms)
	if why ~= "overrun" and why ~= "memory" and work < LONG_WORK then return end
	self.suspended:put(suspension_key(path, facts), true, mono_ms + took_ns * SUSPEND_FACTOR // 1000000)
end

local function is_suspended(self, path, facts)
	return self.suspended.size > 0 and self.suspended:get(suspension_key(path, facts), self.mono_ms())
end

-- What replaces the result of a hook that failed: the shipped hook's, unless a failure must refuse.
local function instead(self, chosen, path, kind, ...)
	if chosen == self.shipped or (hooks.HOOKS[path] or hooks.EXTRA).closed then return nil end
	return (call(self, self.shipped, path, kind, ...))
end

--- Asks.
-- @param kind of the hook, as policy_vm's call names it; then its arguments
-- @return the hook's result, its rule's number; or nil where it failed, and has been logged
function M.ask(self, path, kind, ...)
	local chosen = set_for(self, path)
	if is_suspended(self, path, (...)) then
		failed(self, path, "it is suspended, since it ran too long", "resting", self.mono_ms())
		return instead(self, chosen, path, kind, ...)
	end
	local begun = uv.hrtime()
	local vm = chosen.vm
	local result, extra, rule, noted = call(self, chosen, path, kind, ...)
	if result ~= nil then
		if extra then notes.take(self, path, extra) end
		return result, rule
	end
	if noted then notes.take(self, path, noted) end
	local mono_ms = self.mono_ms()
	local work = vm:work() -- before a restart, which closes the VM
	failed(self, path, extra, rule, mono_ms)
	suspend_long(self, path, (...), rule, work, uv.hrtime() - begun, mono_ms)
	return instead(self, chosen, path, kind, ...)
end

--- For a set that has just come into force.
function M.forget(self)
	self.chosen, self.wanted = {}, {} -- by path of a hook: the set that has it, and whether any does
	self.suspended:clear()
end

--- What M.ask keeps on a policy.
function M.setup(self)
	self.failures, self.renewed_ms, self.suspended = 0, -RENEW_EVERY_MS, lru.new(MAX_SUSPENDED)
end

return M
