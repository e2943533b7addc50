--- A schedule of a simulation as text.

local M = {}

-- Numbers of the nodes for which a list says true.
local function list_of(flags)
	local numbers = {}
	for index, is_set in ipairs(flags) do
		if is_set then numbers[#numbers + 1] = index end
	end
	return table.concat(numbers, ",")
end

local FIELDS = { "node", "other", "from", "to", "of_calls", "offset", "ms", "app", "key", "size", "ttl_ms", "delete" }

local function fields_of(made)
	local parts = {}
	for _, name in ipairs(FIELDS) do
		if made[name] and made[name] ~= 0 then parts[#parts + 1] = ("%s=%s"):format(name, made[name]) end
	end
	return table.concat(parts, " ")
end

--- A schedule, one event a line.
function M.of(schedule)
	local plan, lines = schedule.plan, {}
	local form = "nodes=%d keep_secrets=%s alone=%s page_bytes=%s lose=%d again=%d delay=%d..%d ms offsets=%s tight=%s "
		.. "existing=%s liar=%s sessions=%s of %s s last=%s %d %d"
	lines[1] = form:format(plan.nodes, plan.keep_secrets, plan.alone, plan.page_bytes or "many", plan.lose, plan.again,
		plan.delay_ms[1], plan.delay_ms[2], table.concat(plan.offsets, ","), list_of(plan.tight),
		plan.existing or "none", plan.liar or "none", list_of(plan.sessions or {}),
		plan.variables.SESSION_TTL_SECONDS or "none", plan.last.what, plan.last.node, plan.last.from)
	for _, made in ipairs(schedule.events) do
		lines[#lines + 1] = ("%8.3f s  %-7s %s"):format(made.at / 1000, made.what, fields_of(made))
	end
	return table.concat(lines, "\n")
end

return M
