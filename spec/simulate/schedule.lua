--- Schedules of a simulation: what happens when, made from a seed. A schedule is a plan (spec.simulate.world) and a
-- list of events, so that a part of it can be run again.

local generator = require("spec.simulate.generator")

local M = {}

local MAX_OFFSET_MS = 7000 -- so that two clocks differ by less than MAX_CLOCK_SKEW_MS (15 s)
local QUIET_MS = 40000 -- until most nodes serve: they make no writes before two times MAX_CLOCK_SKEW_MS
local APART = 1 << 40 -- of the numbers that are drawn apart from the others
local KEYS, APPS = { "a", "b", "c", "d", "e" }, { "1000", "1001" }

local function between(random, least, most)
	return least + random(most - least + 1)
end

local function pick(random, list)
	return list[random(#list) + 1]
end

local function event(at, what, fields)
	fields.at, fields.what = at, what
	return fields
end

local function write(random, at, plan)
	return event(at, "write", {
		node = between(random, 1, plan.nodes), app = pick(random, APPS), key = pick(random, KEYS),
		delete = random(5) == 0, ttl_ms = random(8) == 0 and between(random, 1000, 30000) or 0,
		size = #plan.tight > 0 and between(random, 100, 300) or random(200),
	})
end

-- Two writes with the same stamp.
local function twins(random, at, plan)
	local made = write(random, at, plan)
	made.what, made.other = "twins", made.node % plan.nodes + 1
	return made
end

-- Each fault adds its events: what begins, ends.
local FAULTS = {
	function(random, plan, at, ends, add)
		local from, to = between(random, 1, plan.nodes), between(random, 1, plan.nodes)
		if from == to then return end
		add(event(at, "cut", { from = from, to = to, of_calls = plan.of_calls }))
		add(event(ends, "mend", { from = from, to = to }))
	end,
	function(random, plan, at, ends, add)
		local alone = between(random, 1, plan.nodes)
		for other = 1, plan.nodes do
			if other ~= alone then
				add(event(at, "cut", { from = alone, to = other }))
				add(event(ends, "mend", { from = alone, to = other }))
			end
		end
	end,
	function(random, plan, at, ends, add)
		local node = between(random, 1, plan.nodes)
		add(event(at, "pause", { node = node }))
		add(event(ends, "go on", { node = node }))
	end,
	function(random, plan, at, ends, add)
		local node = between(random, 1, plan.nodes)
		add(event(at, "crash", { node = node }))
		-- Its clock may have been set meanwhile.
		add(event(ends, "restart", {
			node = node, offset = random(2) == 0 and between(random, -MAX_OFFSET_MS, MAX_OFFSET_MS) or nil,
		}))
	end,
	function(random, plan, at, ends, add)
		if random(3) > 0 then return end
		local node = between(random, 1, plan.nodes)
		add(event(at, "leave", { node = node }))
		add(event(ends + random(100000), "enter", { node = node }))
		plan.changes = true
	end,
	-- What a node wrote is known to one member only, and that one is cut off when the node comes back with an empty
	-- store and writes the key again.
	function(random, plan, at, _, add)
		if plan.nodes < 3 then return end
		local node = between(random, 1, plan.nodes)
		local witness = node % plan.nodes + 1
		local function all(what, time, who)
			for other = 1, plan.nodes do
				if other ~= node and other ~= witness then add(event(time, what, { from = who, to = other })) end
			end
		end
		local function write_again(time)
			add(event(time, "write", { node = node, app = APPS[1], key = KEYS[1], ttl_ms = 0, size = random(100) }))
		end
		all("cut", at, node)
		all("cut", at, witness)
		write_again(at + 100)
		write_again(at + 900)
		add(event(at + 2000, "cut", { from = node, to = witness }))
		all("mend", at + 2000, node)
		add(event(at + 2100, "crash", { node = node }))
		add(event(at + 3000, "restart", { node = node }))
		write_again(at + between(random, 5000, 40000))
		add(event(at + 45000, "mend", { from = node, to = witness }))
		all("mend", at + 45000, witness)
	end,
}

local function add_faults(random, plan, events, length_ms)
	local function add(made) events[#events + 1] = made end
	for _ = 1, 1 + random(5) do
		local at = QUIET_MS + random(length_ms)
		local ends = at + between(random, 100, 40000)
		pick(random, FAULTS)(random, plan, at, ends, add)
	end
	if random(6) == 0 then
		add(event(QUIET_MS + random(length_ms), "shift", { node = between(random, 1, plan.nodes), ms = -random(2000) }))
	end
end

local function sort(events)
	for number, made in ipairs(events) do made.number = number end
	table.sort(events, function(a, b)
		if a.at ~= b.at then return a.at < b.at end
		return a.number < b.number
	end)
end

-- What of a plan is about who has sessions and who can call whom.
local function add_sessions(random, plan)
	local sessions = pick(random, { "none", "all", "all", "some" })
	if sessions ~= "none" then
		plan.sessions = {}
		for index = 1, plan.nodes do plan.sessions[index] = sessions == "all" or random(2) == 0 end
		plan.variables.SESSION_TTL_SECONDS = pick(random, { "3600", "60" })
	end
	plan.of_calls = random(3) == 0
	local node = between(random, 1, plan.nodes)
	local what = pick(random, { "crash", "pause", "cut calls" })
	plan.last = { what = what, node = node, from = node % plan.nodes + 1 }
end

--- The schedule of a seed.
-- @return { plan, events (by time), ends_ms }
function M.new(seed)
	local random = generator.new(seed)
	local plan = {
		nodes = random(16) > 0 and between(random, 2, 4) or between(random, 5, 7), offsets = {}, tight = {}, variables = {},
		keep_secrets = random(2) == 0,
		lose = pick(random, { 0, 0, 20, 200 }), again = pick(random, { 0, 50, 300 }),
		delay_ms = pick(random, { { 1, 5 }, { 5, 200 }, { 50, 3000 } }), network_seed = seed,
	}
	plan.alone = random(6) == 0
	if plan.alone then plan.variables.LONELY_SILENT_SECONDS = "10" end
	plan.page_bytes = random(4) == 0 and between(random, 200, 1000) or nil
	add_sessions(generator.new(seed + APART), plan)
	local stranger = random(10)
	plan.liar = stranger == 0 and plan.nodes > 2 and between(random, 1, plan.nodes) or nil
	plan.existing = stranger == 1 and between(random, 1, plan.nodes) or nil
	if plan.existing then plan.variables.SNAPSHOT_COMPARE_SECONDS = "20" end
	local tight = pick(random, { "none", "none", "none", "all", "some" })
	local in_step = random(4) == 0
	for index = 1, plan.nodes do
		plan.offsets[index] = in_step and 0 or between(random, -MAX_OFFSET_MS, MAX_OFFSET_MS)
		if tight ~= "none" then plan.tight[index] = tight == "all" or random(2) == 0 end
	end
	local length_ms, events = between(random, 15000, 60000), {}
	for _ = 1, between(random, 10, 40) do
		local make = random(6) == 0 and twins or write
		events[#events + 1] = make(random, QUIET_MS + random(length_ms), plan)
	end
	add_faults(random, plan, events, length_ms)
	sort(events)
	return { plan = plan, events = events, ends_ms = QUIET_MS + length_ms }
end

return M
