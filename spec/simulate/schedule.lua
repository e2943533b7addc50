--- Schedules of a simulation: what happens when, made from a seed. A schedule is a plan (spec.simulate.world) and a
-- list of events, so that a part of it can be run again.

local generator = require("spec.simulate.generator")

local M = {}

local MAX_OFFSET_MS = 7000 -- so that two clocks differ by less than MAX_CLOCK_SKEW_MS (15 s)
local QUIET_MS = 45000 -- until most nodes serve: they make no writes before two times MAX_CLOCK_SKEW_MS
local TIGHT_BYTES = 2000 -- of an application, where values are evicted
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
		size = plan.evicts and between(random, 100, 300) or random(200),
	})
end

-- Each fault adds its events: what begins, ends.
local FAULTS = {
	function(random, plan, at, ends, add)
		local from, to = between(random, 1, plan.nodes), between(random, 1, plan.nodes)
		if from == to then return end
		add(event(at, "cut", { from = from, to = to }))
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
		add(event(ends, "restart", { node = node }))
	end,
}

local function add_faults(random, plan, events, length_ms)
	local function add(made) events[#events + 1] = made end
	for _ = 1, random(6) do
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

--- The schedule of a seed.
-- @return { plan, events (by time), ends_ms }
function M.new(seed)
	local random = generator.new(seed)
	local plan = {
		nodes = between(random, 2, 5), offsets = {}, keep_secrets = random(2) == 0,
		lose = pick(random, { 0, 0, 20, 200 }), again = pick(random, { 0, 50, 300 }),
		delay_ms = pick(random, { { 1, 5 }, { 5, 200 }, { 50, 3000 } }), network_seed = seed,
	}
	plan.evicts = random(4) == 0
	if plan.evicts then plan.variables = { MAX_APP_STORAGE_BYTES = tostring(TIGHT_BYTES) } end
	for index = 1, plan.nodes do plan.offsets[index] = between(random, -MAX_OFFSET_MS, MAX_OFFSET_MS) end
	local length_ms, events = between(random, 20000, 90000), {}
	for _ = 1, between(random, 10, 60) do
		events[#events + 1] = write(random, QUIET_MS + random(length_ms), plan)
	end
	add_faults(random, plan, events, length_ms)
	sort(events)
	return { plan = plan, events = events, ends_ms = QUIET_MS + length_ms }
end

local function fields_of(made)
	local parts = {}
	for _, name in ipairs({ "node", "from", "to", "ms", "app", "key", "size", "ttl_ms", "delete" }) do
		if made[name] and made[name] ~= 0 then parts[#parts + 1] = ("%s=%s"):format(name, made[name]) end
	end
	return table.concat(parts, " ")
end

--- A schedule as text, one event a line.
function M.describe(schedule)
	local plan, lines = schedule.plan, {}
	local form = "nodes=%d keep_secrets=%s evicts=%s lose=%d again=%d delay=%d..%d ms offsets=%s"
	lines[1] = form:format(plan.nodes, plan.keep_secrets, plan.evicts, plan.lose, plan.again, plan.delay_ms[1],
		plan.delay_ms[2], table.concat(plan.offsets, ","))
	for _, made in ipairs(schedule.events) do
		lines[#lines + 1] = ("%8.3f s  %-7s %s"):format(made.at / 1000, made.what, fields_of(made))
	end
	return table.concat(lines, "\n")
end

return M
