--- Runs a schedule and says which promise it breaks.

require("spec.simulate.substitutes")
local cjson = require("cjson")
local loop = require("spec.simulate.virtual_loop")
local promises = require("spec.simulate.promises")
local trace = require("spec.simulate.trace")
local world = require("spec.simulate.world")

local M = {}

local SETTLE_MS = 120000

local function others(cluster, index)
	local list = {}
	for i, node in ipairs(cluster.nodes) do
		if i ~= index and node.state ~= "down" then list[#list + 1] = node end
	end
	return list
end

local function write(cluster, kept, made)
	if not cluster:is_serving(made.node) then return end
	local inner = { key = made.key }
	if not made.delete then
		inner.value = ("A"):rep(4 * (made.size + 1))
		if made.ttl_ms > 0 then inner.ttl_ms = made.ttl_ms end
	end
	local method = made.delete and "DELETE" or "PUT"
	cluster:write(made.node, method, cjson.encode(inner), made.app, function(record)
		if record then kept:acknowledged(made.app .. "/" .. made.key, record) end
	end)
end

-- A node that is the last with its store does not crash: then nothing is promised.
local function crash(cluster, kept, made)
	local left, serving = others(cluster, made.node), false
	for _, node in ipairs(left) do serving = serving or node.parts.readiness:is_complete() end
	if not serving or cluster.nodes[made.node].state == "down" then return end
	kept:losing(left)
	cluster:crash(made.node)
end

local DO = {
	write = write,
	crash = crash,
	restart = function(cluster, _, made) cluster:restart(made.node) end,
	cut = function(cluster, _, made) cluster:cut(made.from, made.to, true) end,
	mend = function(cluster, _, made) cluster:cut(made.from, made.to, nil) end,
	pause = function(cluster, _, made) cluster:pause(made.node, true) end,
	["go on"] = function(cluster, _, made) cluster:pause(made.node, false) end,
	shift = function(cluster, _, made) cluster:shift(made.node, made.ms) end,
}

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
	cluster:run_until(schedule.ends_ms + SETTLE_MS)
	local errors = loop.caught()
	local broken = #errors > 0 and "error: " .. errors[1] or kept:broken(cluster.nodes)
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
