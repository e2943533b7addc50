--- Figures of replication: how fast writes reach the others, what a join costs, what repair moves, and what an idle
-- cluster sends. lua5.4 spec/bench/cluster.lua BUILD [small|full]
--
-- Three real nodes on a chain of this machine for the first two; two members in this process, by their own code, for
-- the others. "full" adds joins of 100 MiB and of 500 000 records. Run as root by `make bench-cluster`, nodes and
-- clients go before the machine's other programs. The exit status says whether what must hold did.

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path

local uv = require("luv")
local build = (arg[1] or "build"):gsub("^" .. uv.cwd():gsub("%p", "%%%0") .. "/", "")
uv.os_setenv("KMS_BUILD", build) -- for the support modules
local clusters = require("spec.support.cluster")
local copies = require("spec.bench.cluster.copies")
local idle = require("spec.bench.cluster.idle")
local join = require("spec.bench.cluster.join")
local lag = require("spec.bench.cluster.lag")
local moved = require("spec.bench.cluster.moved")
local small = require("spec.bench.cluster.small_records")

local NAME = "bench"
local RATES, LAG_S = { 1, 200, 1000 }, 8
local JOIN_RATE, MOST_HEALTH_MS = 200, 20
local RECORDS, DIFFERING, BYTES = 100000, { 1, 100, 10000 }, 256
local MOST_IDLE = 300
local MOST_COPY_MS = 3
local IDLE_S = 60 -- one tick of the chain
local IDLE_US, MOST_WAKES = 100, 2
local COPIES = { { 1600, 65536 }, { 10000, 4096 }, { 10000, 256 } } -- values, their bytes

local NODES = { -- their limits do not stand in the way
	MAX_APP_STORAGE_BYTES = tostring(1 << 30), MAX_TOTAL_STORAGE_BYTES = tostring(4 << 30),
	APP_RATE_LIMIT_PER_MINUTE = "0", MAX_CONNECTIONS_PER_ADDRESS = "4096", LOG_LEVEL = "error",
}

local JOINS = {
	{ title = "empty", always = true, bytes = 0 },
	{ title = "10 MiB, values of 16 KiB", always = true, count = 640, value_bytes = 16384 },
	{ title = "100 MiB, values of 64 KiB", count = 1600, value_bytes = 65536 },
	{ title = "500 000 records of 64 bytes", small = true, count = 500000, value_bytes = 64 },
}

local held = true

-- Prints a figure, and whether it is below its bound.
local function must(what, value, most)
	local ok = value < most
	held = held and ok
	print(("  target: %-52s %10.1f  < %g  %s"):format(what, value, most, ok and "ok" or "over"))
end

-- Runs fn(cluster, clients) on a cluster of its own.
local function with_cluster(env, fn)
	local all = {}
	for _, more in ipairs({ NODES, env }) do for name, value in pairs(more) do all[name] = value end end
	local cluster = clusters.start({ env = all })
	local ok, failure = pcall(function()
		local clients = cluster:register(NAME)
		fn(cluster, clients)
		if #cluster.ended > 0 then error("ended by itself: " .. table.concat(cluster.ended, ", "), 0) end
	end)
	cluster:stop()
	if not ok then error(failure, 0) end
end

-- ---- writes ---------------------------------------------------------------------------------------------------

local function bench_lag(wanted)
	print(("\n%-44s %8s %8s %10s %8s"):format(("Push lag, ms, WRITE_COPIES=%d"):format(wanted), "p50", "p99", "a second",
		"probes"))
	with_cluster({ WRITE_COPIES = tostring(wanted) }, function(_, clients)
		for _, rate in ipairs(RATES) do
			local found = lag.measure(clients, NAME, rate, LAG_S)
			print(("  %-42s %8.1f %8.1f %10.0f %8d"):format(rate .. " writes a second", found.p50_ms, found.p99_ms, found.rate,
				found.probes))
		end
	end)
end

local function bench_copies()
	print(("\n%-44s %8s %8s"):format("Puts one after the other, ms", "p50", "p99"))
	with_cluster({ WRITE_COPIES = "2" }, function(cluster, clients)
		local found = copies.measure(cluster, clients)
		for wanted, times in ipairs(found) do
			print(("  %-42s %8.2f %8.2f"):format("WRITE_COPIES=" .. wanted, times.p50_ms, times.p99_ms))
		end
		must("p50 of a second copy, ms", found[2].p50_ms - found[1].p50_ms, MOST_COPY_MS)
	end)
end

-- ---- joins ----------------------------------------------------------------------------------------------------

-- Milliseconds that copying, encrypting and sending so many bytes takes at least.
local function transfer_ms(bytes)
	local pipe = assert(io.popen(("%s/spec/bench_transfer %d"):format(build, bytes)))
	local ms = tonumber(pipe:read("a"))
	pipe:close()
	return ms or error("no figure of bench_transfer", 0)
end

local function fill(cluster, clients, case)
	join.leave_one(cluster)
	if case.small then
		small.fill(cluster, clients, case.count, case.value_bytes)
	elseif case.count then
		join.fill(clients, NAME, { prefix = "filled/", count = case.count, bytes = case.value_bytes })
	end
	join.bring_second(cluster)
end

local function bench_join(case)
	with_cluster({}, function(cluster, clients)
		fill(cluster, clients, case)
		local bytes = cluster:status(1).data_store.total_bytes
		local found = join.measure(cluster, clients, NAME, JOIN_RATE)
		print(("  %-42s %8.2f %9.3f %8.0f %8.0f %8.1f %8.1f %8.0f"):format(case.title, found.join_s,
			transfer_ms(bytes) / 1000, found.serving_mib, found.newcomer_mib, found.quiet_ms, found.health_ms, found.rate))
		must("writes that the newcomer denied, of " .. found.written, #found.denied, 1)
		must("writes that were refused meanwhile", found.refused, 1)
		must("p99 of /health meanwhile, ms", found.health_ms, MOST_HEALTH_MS)
	end)
end

local function bench_joins(full)
	print(("\n%-44s %8s %9s %8s %8s %8s %8s %8s"):format("Join, from the process's start", "s", "least s", "MiB", "MiB",
		"/health", "/health", "writes"))
	print(("%-44s %8s %9s %8s %8s %8s %8s %8s"):format("", "", "", "serving", "newcomer", "before", "p99 ms", "a second"))
	for _, case in ipairs(JOINS) do
		if case.always or full then bench_join(case) end
	end
end

-- ---- messages -------------------------------------------------------------------------------------------------

local function bench_repair()
	print(("\n%-44s %10s %10s %10s %8s %8s"):format(("Repair, records of %d bytes of %d"):format(BYTES, RECORDS),
		"records", "messages", "envelopes", "calls", "turns"))
	for _, differing in ipairs(DIFFERING) do
		local found = moved.repair(RECORDS, differing, BYTES)
		print(("  %-42s %10d %10d %10d %8d %8d"):format(differing .. " differ", found.records, found.inner, found.sealed,
			found.calls, found.turns))
		if differing == 100 then
			must("bytes of messages by 3 x records + 20 KiB, in %", 100 * found.inner / (3 * found.records + 20480), 100)
		end
	end
end

local function bench_copy()
	print(("\n%-44s %10s %10s"):format("A copy, bytes moved by those of the ciphertext", "version 1", "session"))
	for _, case in ipairs(COPIES) do
		local signed, sealed = moved.copy(case[1], case[2], false), moved.copy(case[1], case[2], true)
		print(("  %-42s %10.2f %10.2f"):format(("%d values of %d bytes"):format(case[1], case[2]), signed, sealed))
		if case[2] >= 1024 then must("bytes in a session by those of the ciphertext, in %", 100 * sealed, 150) end
	end
end

local function bench_idle()
	local found = moved.idle()
	print(("\n%-44s %10s %10s"):format("Idle, a peer and interval, bytes", "question", "answer"))
	print(("  %-42s %10d %10d"):format("message", table.unpack(found.inner)))
	print(("  %-42s %10d %10d"):format("in its envelope, HTTP headers besides", table.unpack(found.sealed)))
	must("messages", found.calls, 2)
	must("bytes of the longer message", math.max(table.unpack(found.inner)), MOST_IDLE)
end

-- Only wake-ups have a bound that must hold: an idle process pays for caches that others have filled, so its CPU time
-- is the machine's as well.
local function bench_idle_cpu()
	print(("\n%-44s %8s %8s %8s"):format("Idle, three members, metrics on, a second", "1", "2", "3"))
	with_cluster(idle.SETTINGS, function(cluster)
		local cpu_us, wakes = idle.measure(cluster, IDLE_S)
		print(("  %-42s %8.0f %8.0f %8.0f  <= %d on a quiet machine"):format("CPU time of each, us", cpu_us[1], cpu_us[2],
			cpu_us[3], IDLE_US))
		print(("  %-42s %8.2f %8.2f %8.2f"):format("wake-ups of each", table.unpack(wakes)))
		must("wake-ups of a member", math.max(table.unpack(wakes)), MOST_WAKES)
	end)
end

local missing = clusters.missing()
if missing then error("no cluster: " .. missing, 0) end
io.stdout:setvbuf("line")
for _, wanted in ipairs({ 2, 1 }) do bench_lag(wanted) end
bench_copies()
bench_joins(arg[2] == "full")
bench_repair()
bench_copy()
bench_idle()
bench_idle_cpu()
os.exit(held and 0 or 1, true)
