--- What members cost while nothing is asked of them: CPU time of each, with metrics on.

local files = require("spec.support.files")
local uv = require("luv")

local M = {}

-- What a member has for itself in production; specs set shorter ones.
M.SETTINGS = {
	METRICS_ADDR = "127.0.0.1:0", KMS_NODE_TICK_SECONDS = "60", DATA_SYNC_INTERVAL_SECONDS = "10",
	REGISTRY_CACHE_TTL_SECONDS = "180", PEER_CACHE_TTL_SECONDS = "180", THREADS = "2",
}

local SETTLE_S = 5 -- what follows a start is over

local function run_loop(seconds)
	local timer, over = assert(uv.new_timer()), false
	timer:start(seconds * 1000, 0, function()
		over = true
		timer:close()
	end)
	while not over do uv.run("once") end
end

-- CPU time of all threads of a process, in microseconds.
local function cpu_us(pid)
	local sum, tasks = 0, ("/proc/%d/task"):format(pid)
	for name in uv.fs_scandir_next, assert(uv.fs_scandir(tasks)) do
		local text = files.read(("%s/%s/schedstat"):format(tasks, name)) -- nil: the thread has ended
		sum = sum + (tonumber((text or ""):match("^%d+")) or 0)
	end
	return sum / 1000
end

--- @param cluster spec.support.cluster, of three members with SETTINGS; @param seconds how long to measure
-- @return list of microseconds a second, one of each member
function M.measure(cluster, seconds)
	local before, rates = {}, {}
	run_loop(SETTLE_S)
	for i = 1, 3 do before[i] = cpu_us(cluster:node(i).process.pid) end
	run_loop(seconds)
	for i = 1, 3 do rates[i] = (cpu_us(cluster:node(i).process.pid) - before[i]) / seconds end
	return rates
end

return M
