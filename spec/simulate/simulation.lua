--- Runs a schedule and says which promise it breaks.

require("spec.simulate.substitutes")
local cjson = require("cjson")
local loop = require("spec.simulate.virtual_loop")
local promises = require("spec.simulate.promises")
local trace = require("spec.simulate.trace")
local views = require("spec.simulate.views")
local world = require("spec.simulate.world")

local M = {}

local SETTLE_MS = 90000
-- Where the list of members has changed, which nodes read once a minute, or a joining node may wait for the snapshot of
-- an existing node, for as long as the call may take (120 s).
local SETTLE_LONG_MS = 200000
local PROMPT_MS = 200 -- the longest delay with which no call runs into its deadline
local LOOK_MS = 20

-- Other members of a list that have their stores.
local function others(nodes, index)
	local list = {}
	for _, node in ipairs(nodes) do
		if node.index ~= index and node.state ~= "down" and not node.is_away then list[#list + 1] = node end
	end
	return list
end

-- Tells the promises that a node loses its store. A copy may be on an existing node.
-- @param is_sudden whether it does so by a crash: what it was the only one to hold, though it had copies, is a fault
local function losing(cluster, kept, index, is_sudden)
	local left = others(cluster.honest, index)
	kept:losing(index, left, is_sudden and #left == #cluster.honest - 1)
	kept:disturbed(index)
end

local function write(cluster, kept, made, index)
	index = index or made.node
	if not cluster:is_serving(index) then return end
	local inner = { key = made.key }
	if not made.delete then
		inner.value = ("A"):rep(4 * (made.size + 1))
		if made.ttl_ms > 0 then inner.ttl_ms = made.ttl_ms end
	end
	local method = made.delete and "DELETE" or "PUT"
	local node, began_ms = cluster.nodes[index], loop.now()
	cluster:write(index, method, cjson.encode(inner), made.app, function(record)
		if record then kept:acknowledged(made.app .. "/" .. made.key, record, node, began_ms) end
	end)
end

-- Two nodes write a key when their clocks say the same.
local function twins(cluster, kept, made)
	local ahead_ms = cluster.nodes[made.node].offset_ms - cluster.nodes[made.other].offset_ms
	loop.after(-ahead_ms, function() write(cluster, kept, made) end)
	loop.after(ahead_ms, function() write(cluster, kept, made, made.other) end)
end

-- A node that is the last with its store does not crash: then nothing is promised.
local function crash(cluster, kept, made)
	local serving = false
	for _, node in ipairs(others(cluster.own, made.node)) do serving = serving or node.parts.readiness:is_complete() end
	if not serving or cluster.nodes[made.node].state == "down" then return end
	losing(cluster, kept, made.node, true)
	cluster:crash(made.node)
end

-- Nobody relies on what a node holds that is no member: like one that has crashed.
local function leave(cluster, kept, made)
	losing(cluster, kept, made.node, false)
	cluster:enlist(made.node, false)
end

-- Complete members that a node reaches.
local function reached(cluster, index)
	local list = {}
	for _, node in ipairs(others(cluster.own, index)) do
		local there = node.state == "up" and not cluster:is_cut(node.index, index)
		if there and node.parts.readiness:is_complete() then list[#list + 1] = node end
	end
	return list
end

-- Starts a node, and has what it serves with checked in the moment in which it does, where no message is lost or late
-- and no node serves alone: then it must have reached the others.
local function restart(cluster, kept, made)
	local node = cluster.nodes[made.node]
	if node.state ~= "down" then return end
	node.offset_ms = made.offset or node.offset_ms
	cluster:restart(made.node)
	if cluster.plan.lose > 0 or cluster.plan.delay_ms[2] > PROMPT_MS or cluster.plan.alone then return end
	kept:joining(node, reached(cluster, made.node))
	local life = node.life
	local function look()
		if node.life ~= life or node.state == "down" then return end
		if node.parts.readiness.ready then return kept:joined(node) end
		loop.after(LOOK_MS, look)
	end
	look()
end

local DO = {
	write = write,
	crash = crash,
	leave = leave,
	enter = function(cluster, _, made) cluster:enlist(made.node, true) end,
	twins = twins,
	restart = restart,
	cut = function(cluster, kept, made)
		kept:disturbed(made.from)
		kept:disturbed(made.to)
		cluster:cut(made.from, made.to, made.of_calls)
	end,
	mend = function(cluster, _, made) cluster:mend(made.from, made.to) end,
	pause = function(cluster, kept, made)
		kept:disturbed(made.node)
		cluster:pause(made.node, true)
	end,
	["go on"] = function(cluster, _, made) cluster:pause(made.node, false) end,
	shift = function(cluster, _, made) cluster:shift(made.node, made.ms) end,
}

-- Every node that keeps promises writes: whatever a liar has claimed, no member refuses it.
local function write_all(cluster, kept)
	for _, node in ipairs(cluster.own) do
		for _, key in ipairs({ "a", "b", "c" }) do
			write(cluster, kept, { app = "1000", key = key, size = 1, ttl_ms = 0 }, node.index)
		end
	end
end

--- Runs a schedule.
-- @return nil | what is broken, as text; the number of acknowledged writes; a digest of all that happened
function M.run(schedule)
	trace.reset()
	local cluster, kept = world.new(schedule.plan), promises.new()
	for _, made in ipairs(schedule.events) do
		cluster:run_until(made.at)
		DO[made.what](cluster, kept, made)
	end
	cluster:run_until(schedule.ends_ms)
	cluster:heal()
	local plan = schedule.plan
	local settled_ms = loop.now() + ((plan.changes or plan.existing) and SETTLE_LONG_MS or SETTLE_MS)
	-- Liars are banned, and no view says much of calls that run into their deadlines.
	local is_watched = not plan.liar and plan.delay_ms[2] <= PROMPT_MS
	local unseen
	if is_watched then unseen = views.settle(cluster, settled_ms) else cluster:run_until(settled_ms) end
	if plan.liar then
		kept:forgive()
		write_all(cluster, kept)
		cluster:run_until(settled_ms + SETTLE_MS)
	end
	local broken = kept:broken(cluster.own) or unseen
	if is_watched and not broken then broken = views.lose(cluster, plan.last) end
	local errors = loop.caught()
	if #errors > 0 then broken = "error: " .. errors[1] end
	return broken, kept.count, trace.digest()
end

-- The schedule without the events from one index to another.
local function without(schedule, first, last)
	local events = {}
	for i, made in ipairs(schedule.events) do
		if i < first or i > last then events[#events + 1] = made end
	end
	return { plan = schedule.plan, events = events, ends_ms = schedule.ends_ms }
end

--- Leaves events out as long as a promise stays broken.
-- @return the shorter schedule, what it breaks
function M.shrink(schedule, broken)
	local size = #schedule.events // 2
	while size >= 1 do
		local first = 1
		while first <= #schedule.events do
			local shorter = without(schedule, first, first + size - 1)
			local still = M.run(shorter)
			if still then
				schedule, broken = shorter, still
			else
				first = first + size
			end
		end
		size = size // 2
	end
	return schedule, broken
end

return M
