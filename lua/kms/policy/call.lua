--- One question to a hook: which set has a say, what happens when it fails, and how a hook that
-- takes long is kept from holding the node up.
--
-- A call that fails may have used all of its budget, which is milliseconds of the loop. A hook
-- that did so rests for HUNDREDFOLD of that time, for the same application (or peer) only, and is
-- meanwhile taken to fail at once: failing calls have a hundredth of the loop's time at the most.

local hooks = require("kms.policy.hooks")
local lru = require("kms.base.lru")
local notes = require("kms.policy.effects")
local uv = require("luv")

local M = {}

local RENEW_EVERY_MS = 1000
local LOG_EVERY_S = 60
local HUNDREDFOLD = 100
local LONG_NS = 1000000 -- of a call that failed by itself: shorter ones hold nobody up
local RESTING = 4096 -- hooks by application or peer that are remembered

-- A policy that has filled its memory with what it keeps starts anew, once a second at the most.
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

-- The set that has a say: the operator's, or the shipped one where that has no such member.
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

-- What rests together: whoever makes a hook run long loses it for itself only.
local function resting_key(path, facts)
	local whose
	if type(facts) == "table" then
		-- Peers are all of one application: what rests for one must not rest for the others.
		whose = facts.from or (path:find("^access%.") and facts.app_id or facts.wallet)
	end
	return path .. " " .. tostring(whose)
end

local function note_time(self, path, facts, why, took_ns, mono_ms)
	if why ~= "overrun" and why ~= "memory" and took_ns < LONG_NS then return end
	self.resting:put(resting_key(path, facts), true, mono_ms + took_ns * HUNDREDFOLD // 1000000)
end

local function is_resting(self, path, facts)
	return self.resting.size > 0 and self.resting:get(resting_key(path, facts), self.mono_ms())
end

-- What stands for a hook that failed.
local function instead(self, chosen, path, kind, ...)
	if chosen == self.shipped or (hooks.HOOKS[path] or hooks.EXTRA).closed then return nil end
	return (call(self, self.shipped, path, kind, ...))
end

--- Asks.
-- @param kind of the hook, as policy_vm's call names it; then its arguments
-- @return the hook's result, its rule's number; or nil where it failed, and has been logged
function M.ask(self, path, kind, ...)
	local chosen = set_for(self, path)
	if is_resting(self, path, (...)) then
		failed(self, path, "it rests, since it ran too long", "resting", self.mono_ms())
		return instead(self, chosen, path, kind, ...)
	end
	local begun = uv.hrtime()
	local result, extra, rule, noted = call(self, chosen, path, kind, ...)
	if result ~= nil then
		if extra then notes.take(self, path, extra) end
		return result, rule
	end
	if noted then notes.take(self, path, noted) end
	local mono_ms = self.mono_ms()
	failed(self, path, extra, rule, mono_ms)
	note_time(self, path, (...), rule, uv.hrtime() - begun, mono_ms)
	return instead(self, chosen, path, kind, ...)
end

--- For a set that has just come into force.
function M.forget(self)
	self.chosen, self.wanted = {}, {} -- by path of a hook: the set that has it, and whether any does
	self.resting:clear()
end

--- What M.ask keeps on a policy.
function M.setup(self)
	self.failures, self.renewed_ms, self.resting = 0, -RENEW_EVERY_MS, lru.new(RESTING)
end

return M
