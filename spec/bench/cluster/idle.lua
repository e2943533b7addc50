--- What members cost while nothing is asked of them: CPU time of each, with metrics on, and how often they wake.

local files = require("spec.support.files")
local uv = require("luv")

local M = {}

-- What a member has for itself in production; specs set shorter ones.
M.SETTINGS = {
	METRICS_ADDR = "127.0.0.1:0", KMS_NODE_TICK_SECONDS = "60", DATA_SYNC_INTERVAL_SECONDS = "10",
	REGISTRY_CACHE_TTL_SECONDS = "180", PEER_CACHE_TTL_SECONDS = "180", THREADS = "2",
}

-- What follows a start is over: newly authorised wallets are saved within 10 s, connections that were opened for it are
-- closed after IDLE_TIMEOUT_SECONDS (75) without use.
local SETTLE_S = 90

local function run_loop(seconds)
	local timer, over = assert(uv.new_timer()), false
	timer:start(seconds * 1000, 0, function()
		over = true
		timer:close()
	end)
	while not over do uv.run("once") end
end

-- The sum of a number in a file of each thread of a process.
local function sum_of(pid, file, pattern)
	local sum, tasks = 0, ("/proc/%d/task"):format(pid)
	for name in uv.fs_scandir_next, assert(uv.fs_scandir(tasks)) do
		local text = files.read(("%s/%s/%s"):format(tasks, name, file)) -- nil: the thread has ended
		sum = sum + (tonumber((text or ""):match(pattern)) or 0)
	end
	return sum
end

-- CPU time of a process in microseconds, and how often one of its threads went to sleep.
local function usage(pid)
	return { sum_of(pid, "schedstat", "^%d+") / 1000, sum_of(pid, "status", "\nvoluntary_ctxt_switches:%s*(%d+)") }
end

--- @param cluster spec.support.cluster, of three members with SETTINGS; @param seconds how long to measure
-- @return lists of microseconds a second and of wake-ups a second, one of each member
function M.measure(cluster, seconds)
	local before, cpu_us, wakes = {}, {}, {}
	run_loop(SETTLE_S)
	for i = 1, 3 do before[i] = usage(cluster:node(i).process.pid) end
	run_loop(seconds)
	for i = 1, 3 do
		local now = usage(cluster:node(i).process.pid)
		cpu_us[i], wakes[i] = (now[1] - before[i][1]) / seconds, (now[2] - before[i][2]) / seconds
	end
	return cpu_us, wakes
end

return M
