--- How long after a write on one node the others show it, while others write at a rate.

local children = require("spec.bench.cluster.children")
local join = require("spec.bench.cluster.join")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local BYTES = 256
local FOUND_S = 60
local WARM_S = 1
local PAUSE_S, LONE_PAUSE_S = 0.05, 1 -- between two probes, with other writes and without

local function pause(seconds)
	local ends = uv.hrtime() + seconds * 1e9
	wait.holds(function() return uv.hrtime() >= ends end)
end

-- Milliseconds from the sending of a write to the first node until each other one has shown it.
local function probe(clients, key)
	local began, missing = uv.hrtime(), { clients[2], clients[3] }
	local response = clients[1]:put(key, ("v"):rep(BYTES))
	if response.status ~= 200 then error("a write was answered " .. response.status, 0) end
	while #missing > 0 do
		if uv.hrtime() - began > FOUND_S * 1e9 then error("a write did not arrive", 0) end
		for i = #missing, 1, -1 do
			if missing[i]:get(key).status == 200 then table.remove(missing, i) end
		end
		if #missing > 0 then pause(0.001) end
	end
	return (uv.hrtime() - began) / 1e6
end

--- @param clients one a node, of spec.support.cluster; @param name of their application
-- @param rate writes a second onto the first node; 1: the probes alone
-- @return { p50_ms, p99_ms, probes, rate (that was reached) }
function M.measure(clients, name, rate, seconds)
	local times, writer, pause_s = {}, nil, LONE_PAUSE_S
	if rate > 1 then
		writer = children.write(clients[1], name, {
			prefix = "lag/", count = 1000000, bytes = BYTES, rate = rate, connections = 32,
		}):wait_begun()
		pause_s = PAUSE_S
		pause(WARM_S)
	end
	local ok, failure = pcall(function()
		local before = writer and #writer:pairs() or 0
		local began = uv.hrtime()
		while uv.hrtime() - began < seconds * 1e9 do
			times[#times + 1] = probe(clients, ("probe/%d/%d"):format(rate, #times + 1))
			pause(pause_s)
		end
		local written = writer and #writer:pairs() - before or #times
		times.rate = written / ((uv.hrtime() - began) / 1e9)
	end)
	if writer then writer:stop() end
	if not ok then error(failure, 0) end
	table.sort(times)
	return {
		p50_ms = join.percentile(times, 0.5), p99_ms = join.percentile(times, 0.99), probes = #times, rate = times.rate,
	}
end

return M
