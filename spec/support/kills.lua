--- Kills one node of a cluster after the other at random moments, while all are written to, each after the kill before
-- it is repaired: no write that was answered with two copies or more may be lost, or give way to an older one. Runs in
-- coroutines (spec.support.cluster's await).

local loads = require("spec.support.kills_load")
local loop = require("kms.base.loop")
local random = require("spec.support.random")
local repaired = require("spec.support.repaired")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local Kills = {}
Kills.__index = Kills

local MAX_BEFORE_MS, MAX_DOWN_MS, MAX_AFTER_MS = 800, 300, 300
local REPAIR_S = 90
local LOOK_MS = 20

local function now_ms()
	return uv.hrtime() // 1000000
end

-- Waits until condition() returns true; it may yield. Returns milliseconds; throws after REPAIR_S.
local function wait_ms(what, condition)
	local began_ms = now_ms()
	while true do
		local ok, why = condition()
		local took_ms = now_ms() - began_ms
		if ok then return took_ms end
		if took_ms > REPAIR_S * 1000 then error(("no %s within %d s: %s"):format(what, REPAIR_S, why), 0) end
		loop.sleep(LOOK_MS)
	end
end

-- All calls have ended, and all nodes are ready, complete and hold the same.
local function wait_repaired(self)
	wait.until_true("the calls under way to end", function() return self.load:is_idle() end)
	return wait_ms("repair", function() return repaired.hold_the_same(self.nodes) end)
end

-- Returns what is wrong at the moment at which the node serves again: it has what had two copies when it started.
local function kill_one(self, node)
	loop.sleep(self.random(0, MAX_BEFORE_MS))
	node.process:kill()
	self.killed[node.index] = self.killed[node.index] + 1
	loop.sleep(self.random(0, MAX_DOWN_MS))
	local held = self.load:held()
	assert(node:start())
	self.ready_ms[#self.ready_ms + 1] = wait_ms("restart", function() return node:ready() end)
	local wrong = self.load:wrong({ node }, held)
	loop.sleep(self.random(0, MAX_AFTER_MS))
	return wrong
end

local function kill_and_repair(self)
	local killed, wrong = pcall(kill_one, self, self.nodes[self.random(1, #self.nodes)])
	self.load:stop()
	if not killed then error(wrong, 0) end
	self.repaired_ms[#self.repaired_ms + 1] = wait_repaired(self)
	for _, text in ipairs(self.load:wrong(self.nodes, self.load:held())) do wrong[#wrong + 1] = text end
	return wrong
end

--- One kill under load, its repair, and the check of every key on every node. Yields.
-- @return list of what is wrong; throws where the cluster is not repaired: then there is no sense in another round
function Kills:round()
	if self.given_up then error("given up: " .. self.given_up, 0) end
	self.load:start()
	local repaired_again, wrong = pcall(kill_and_repair, self)
	if repaired_again then return wrong end
	self.given_up = wrong
	error(wrong, 0)
end

local function summary(times)
	if #times == 0 then return "none" end
	table.sort(times)
	return ("%d to %d ms, half within %d ms"):format(times[1], times[#times], times[(#times + 1) // 2])
end

--- The figures of all rounds, for people.
function Kills:table()
	local counts, lines = self.load.counts, {}
	local function line(name, format, ...) lines[#lines + 1] = ("  %-34s %s"):format(name, format:format(...)) end
	line("seed", "KILLS_SEED=%d", self.seed)
	line("kills of node 1, 2, 3", "%s", table.concat(self.killed, ", "))
	line("writes", "%d, %.0f a second", counts.writes, counts.writes * 1000 / math.max(1, counts.ms))
	line("acknowledged", "%d", counts.acknowledged)
	line("of those with two copies or more", "%d", counts.copied)
	line("failed, or not answered", "%d", counts.failed)
	line("ready after a restart", "%s", summary(self.ready_ms))
	line("repaired after the last write", "%s", summary(self.repaired_ms))
	return table.concat(lines, "\n")
end

--- @param cluster  of spec.support.cluster, its nodes ready
function M.new(cluster, seed)
	local self = setmetatable({
		seed = seed, nodes = cluster.net.nodes, random = random.new(seed), killed = {}, ready_ms = {}, repaired_ms = {},
	}, Kills)
	for i = 1, #self.nodes do self.killed[i] = 0 end
	self.load = loads.new(self.nodes, cluster.net.apps[1], cluster.net.dir, self.random)
	return self
end

return M
