--- Simulates clusters: lua5.4 spec/simulate/main.lua FIRST LAST runs the seeds from FIRST to LAST and prints each
-- failing one with its schedule, shrunk, and the digest of what happened, which is the same each time. One seed alone
-- is always shown. FAULT= plants a fault (spec/simulate/faults.lua), whose schedules are shrunk only with SHRINK=1.
-- Exit status 1 when a seed fails.

local build = os.getenv("KMS_BUILD") or "build"
package.path = "lua/?.lua;lua/?/init.lua;./?.lua;" .. package.path
package.cpath = ("%s/?.so;%s/spec/?.so;"):format(build, build) .. package.cpath

local faults = require("spec.simulate.faults")
local fault = os.getenv("FAULT") or ""
if fault ~= "" then faults.load_store(build) end
local description = require("spec.simulate.description")
local simulation = require("spec.simulate.simulation")
local schedule = require("spec.simulate.schedule")

local MOST_SHRUNK = 1 -- failing seeds whose schedule is shrunk; the others are printed whole
local MOST_SHOWN = 5
local FEW = 8 -- seeds whose digests are printed even where they keep all promises

if fault ~= "" then faults.plant(fault) end

local first, last = tonumber(arg[1]) or 1, tonumber(arg[2]) or tonumber(arg[1]) or 1
local failed, writes, kinds = 0, 0, {}

local function show(seed, made, broken)
	local heading = "seed %d breaks a promise: make simulate SEED=%d runs it again"
	if failed <= MOST_SHRUNK and (fault == "" or os.getenv("SHRINK")) then
		made, broken = simulation.shrink(made, broken)
		heading = heading .. "; without the events that it needs not:"
	end
	print((heading .. "\n%s\n%s\n"):format(seed, seed, description.of(made), broken))
end

local function run(seed)
	local made = schedule.new(seed)
	if first == last then print(description.of(made)) end
	local broken, count, digest = simulation.run(made)
	writes = writes + count
	if last - first < FEW or broken then print(("seed %d: digest %s"):format(seed, digest)) end
	if not broken then return end
	failed = failed + 1
	local kind = broken:match("^%a+")
	kinds[kind] = (kinds[kind] or 0) + 1
	if failed <= MOST_SHOWN then show(seed, made, broken) end
end

for seed = first, last do run(seed) end
local parts = {}
for kind, count in pairs(kinds) do parts[#parts + 1] = ("%s %d"):format(kind, count) end
print(("%d seeds, %d acknowledged writes, %d failed%s"):format(last - first + 1, writes, failed,
	#parts > 0 and " (" .. table.concat(parts, ", ") .. ")" or ""))
os.exit(failed == 0 and 0 or 1)
