--- Simulates clusters: lua5.4 spec/simulate/main.lua FIRST LAST runs the seeds from FIRST to LAST and prints each
-- failing one with its schedule, shrunk. Exit status 1 when one fails.

local build = os.getenv("KMS_BUILD") or "build"
package.path = "lua/?.lua;lua/?/init.lua;./?.lua;" .. package.path
package.cpath = ("%s/?.so;%s/spec/?.so;"):format(build, build) .. package.cpath

local simulation = require("spec.simulate.simulation")
local schedule = require("spec.simulate.schedule")

local MOST_SHRUNK = tonumber(os.getenv("SHOW")) or 1-- failing seeds whose schedule is shrunk and shown

local first, last = tonumber(arg[1]) or 1, tonumber(arg[2]) or tonumber(arg[1]) or 1
local failed, writes, kinds = 0, 0, {}
for seed = first, last do
	local made = schedule.new(seed)
	local broken, count = simulation.run(made)
	writes = writes + count
	if broken then
		failed = failed + 1
		local kind = broken:match("^%a+")
		kinds[kind] = (kinds[kind] or 0) + 1
		if failed <= MOST_SHRUNK then
			local shorter, text = simulation.shrink(made, broken)
			print(("seed %d breaks a promise\n%s\n%s\n"):format(seed, schedule.describe(shorter), text))
		end
	end
end
local parts = {}
for kind, count in pairs(kinds) do parts[#parts + 1] = ("%s %d"):format(kind, count) end
print(("%d seeds, %d acknowledged writes, %d failed%s"):format(last - first + 1, writes, failed,
	#parts > 0 and " (" .. table.concat(parts, ", ") .. ")" or ""))
os.exit(failed == 0 and 0 or 1)
