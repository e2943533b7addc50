-- The node's ticks go on, whatever throws in one.

local loop = require("kms.base.loop")
local timers = require("kms.node.timers")
local wait = require("spec.support.wait")

local function nothing() end

-- A node whose parts count their calls; `broken` names those that throw.
local function new_parts(calls, broken)
	local function called(name)
		return function()
			calls[name] = (calls[name] or 0) + 1
			if broken == name then error("spec: thrown in " .. name) end
			return true
		end
	end
	return {
		readiness = {
			tick = called("tick"), view_left_ms = function() return nil end, interval_ms = function() return 1 end,
		},
		recovery = { tick = called("recovery") }, snapshots = { anchors = { probe = called("probe") }, tick = nothing },
		sessions = { expire = function() return 0 end }, store = { expire = function() return 0 end },
		remembered = { save = nothing }, mono_ms = loop.now, wall_ms = loop.now,
		reloader = { settings = { interval = 3600 }, on_change = nothing }, config = { SNAPSHOT_COMPARE_SECONDS = 0 },
	}
end

describe("kms.node.timers", function()
	for _, broken in ipairs({ "recovery", "probe" }) do
		it("ticks again after an error in " .. broken, function()
			local calls, reported, stops = {}, 0, false
			loop.on_error(function() reported = reported + 1 end)
			timers.run(new_parts(calls, broken), function() return stops end, error)
			wait.until_true("three ticks", function() return (calls.tick or 0) >= 3 end)
			stops = true
			assert.is_true(calls[broken] >= 2 and reported >= 2)
		end)
	end
end)
