--- What benchmarks in Lua measure, and how they say it.

local M = {}

local ROUNDS = 11

--- Median CPU time of one call, in microseconds, over rounds of `count` calls.
function M.median_us(call, count)
	local times = {}
	for round = 1, ROUNDS do
		local begun = os.clock()
		for _ = 1, count do call() end
		times[round] = (os.clock() - begun) * 1e6 / count
	end
	table.sort(times)
	return times[ROUNDS // 2 + 1]
end

--- Prints a figure, and whether it is at most `most`.
function M.report(what, value, unit, most)
	print(("  %-42s %9.2f %s   at most %g: %s"):format(what, value, unit, most, value <= most and "ok" or "over"))
end

return M
