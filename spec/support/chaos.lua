--- Kills parts of a cluster at random moments, and watches what the rest makes of it. Runs in
-- coroutines (spec.support.cluster's await); what it finds wrong is collected.
--
-- Time goes in rounds: a storm, in which parts are killed and started again, then calm, in
-- which all of them are there and every node must serve within READY_MS.

local chaos_parts = require("spec.support.chaos_parts")
local kept_chain = require("spec.support.kept_chain")
local loads = require("spec.support.chaos_load")
local loop = require("kms.base.loop")
local parallel = require("kms.async.parallel")
local random = require("spec.support.random")
local repaired = require("spec.support.repaired")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local Chaos = {}
Chaos.__index = Chaos

-- Two ticks of a second: one in which a member is seen to be back, one in which it is asked.
-- And what a busy machine adds.
local READY_MS = 2 * 1000 + 8000
local GIVE_UP_S = 30 -- then there is no sense in going on
local CALM_MS, SETTLE_S = 500, 60
local MAY_FAIL_S = 3 -- how long a kill waits until it may be

local function now_ms()
	return uv.hrtime() // 1000000
end

--- Records an event, so that a violation can be explained.
function Chaos:note(format, ...)
	local line = ("%.1f s: "):format((now_ms() - self.begun_ms) / 1000) .. format:format(...)
	self.events[#self.events + 1] = line
	return line
end

--- Writes down what should not have happened.
function Chaos:violation(format, ...)
	self.violations[#self.violations + 1] = self:note("WRONG: " .. format, ...)
end

-- One part fails and comes back, unless it is away already or must not fail now.
local function fail(self, part, after_ms, down_ms)
	loop.sleep(after_ms)
	if not wait.holds(function() return not part.away and part.may_fail() end, MAY_FAIL_S) then return end
	part.away = true
	self:note("%s is killed for %d ms", part.name, down_ms)
	self.kills[part.name] = (self.kills[part.name] or 0) + 1
	part.kill()
	loop.sleep(down_ms)
	part.start()
	part.away = false
	self:note("%s is back", part.name)
end

local function storm(self)
	local draw, faults = self.random, {}
	for i = 1, draw(2, 4) do
		local part = self.parts[draw(1, #self.parts)]
		faults[i] = { part = part, after_ms = draw(0, 2000), down_ms = part.down_ms(draw) }
	end
	parallel.map(faults, #faults, function(fault)
		local ok, failure = pcall(fail, self, fault.part, fault.after_ms, fault.down_ms)
		if not ok then self:violation("%s: %s", fault.part.name, failure) end
	end)
end

-- Waits until a node serves: it says so, and answers an application.
local function wait_serves(self, node)
	wait.until_true(("node %d to serve again"):format(node.index), function()
		local ready, why = node:ready()
		if not ready then return false, why end
		return self.load:serves(node)
	end, GIVE_UP_S)
end

-- All parts are there: every node has to serve in time.
local function recover(self)
	for _, node in ipairs(self.net.nodes) do chaos_parts.wait_answer(node) end
	local whole_ms = now_ms()
	for _, node in ipairs(self.net.nodes) do wait_serves(self, node) end
	local took_ms = now_ms() - whole_ms
	self.slowest_ms = math.max(self.slowest_ms, took_ms)
	self:note("all nodes serve after %d ms", took_ms)
	if took_ms > READY_MS then self:violation("the cluster was whole for %d ms before it served", took_ms) end
end

-- One application is admitted and refused alternately, while the chain can say so.
local function change_trust(self)
	local app, admit = self.net.apps[2], self.load:is_shut_out()
	self.load:shut_out(nil)
	self.net.registry:set_verified(app.instance_id, admit)
	if not admit then self.load:shut_out(app) end
	self.kept:wait()
end

local function rounds(self, seconds)
	while now_ms() - self.begun_ms < seconds * 1000 do
		change_trust(self)
		storm(self)
		recover(self)
		self.rounds = self.rounds + 1
		loop.sleep(CALM_MS)
	end
end

-- All nodes hold the same in the end, and all that was acknowledged.
local function verify(self)
	local same, why = wait.holds(function() return repaired.hold_the_same(self.net.nodes) end, SETTLE_S)
	if not same then self:violation("in the end: %s", why) end
	self.load:verify()
end

--- Lets chaos reign over a cluster.
-- @param cluster  of spec.support.cluster, its nodes ready
-- @return what there was: violations and events (texts), rounds, kills (by part), slowest_ms, and the counts of
--   spec.support.chaos_load
function M.run(cluster, seconds, seed)
	local self = setmetatable({
		net = cluster.net, random = random.new(seed), violations = {}, events = {}, kills = {}, rounds = 0, slowest_ms = 0,
		begun_ms = now_ms(), kept = kept_chain.new(cluster.net.chain),
	}, Chaos)
	self.load = loads.new(self)
	self.repaired = repaired.new(self.net.nodes)
	self.parts = chaos_parts.of(self.net, self.kept, self.load, self.repaired)
	self.load:start()
	local ok, failure = pcall(rounds, self, seconds)
	self.load:stop()
	if ok then verify(self) else self:violation("given up: %s", failure) end
	self.repaired:stop()
	self.load:stop_watching()
	self.kept:stop()
	loop.sleep(500) -- what still runs sees that it is over
	for _, text in ipairs(cluster.ended) do self:violation("not killed, but %s", text) end
	local result = self.load:counts()
	for _, name in ipairs({ "violations", "events", "rounds", "kills", "slowest_ms" }) do result[name] = self[name] end
	return result
end

return M
