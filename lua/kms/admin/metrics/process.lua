--- Metrics of the process: CPU, memory, descriptors, start, errors, and how late the loop runs timers. Names are
-- those of Prometheus' client libraries.

local uv = require("luv")
local beat = require("kms.base.beat")
local loop = require("kms.base.loop")
local native = require("kms_native")
local files = require("kms.base.files")
local needs = require("kms.base.needs")

local M = {}

local LAG_BOUNDS_S = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5 }
local NS, US, MS = 1e9, 1e6, 1e3

local function cpu_seconds()
	local usage = uv.getrusage()
	local function seconds(time) return time.sec + time.usec / US end
	return seconds(usage.utime) + seconds(usage.stime)
end

local function open_descriptors()
	local count = 0
	files.each("/proc/self/fd", function() count = count + 1 end)
	return count
end

-- Measures how late the beat is, until the returned handle is closed.
local function watch_lag(lag)
	return beat.every(beat.SECONDS, function(due_ms)
		lag:observe(math.max(0, uv.hrtime() / NS - due_ms / MS))
	end)
end

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps server (kms.http.server), wall_ms; config (TEE, CHAIN)
-- @return a handle for loop.close
function M.declare(set, deps)
	deps = needs.take(deps, "server wall_ms config")
	local started = deps.wall_ms() // 1000
	local function gauge(name, help, read)
		set:read("gauge", name, help, nil, function(put) put(read()) end)
	end
	set:read("counter", "process_cpu_seconds_total", "CPU time used.", nil, function(put) put(cpu_seconds()) end)
	gauge("process_resident_memory_bytes", "Resident memory.", uv.resident_set_memory)
	gauge("process_open_fds", "Open file descriptors.", open_descriptors)
	gauge("process_max_fds", "Limit on open file descriptors.", function() return deps.server.descriptors or 0 end)
	gauge("process_start_time_seconds", "When the node started, in Unix time.", function() return started end)
	gauge("kms_lua_memory_bytes", "Memory of the node's Lua state.", function()
		return math.floor(collectgarbage("count") * 1024)
	end)
	set:read("counter", "kms_errors_caught_total", "Errors inside the node that were caught.", nil, function(put)
		put(loop.errors())
	end)
	set:read("gauge", "kms_build_info", "1 at the version and backends that run.", {
		{ "version", { native.version } }, { "tee", { "sim", "odyn", "nitro" } }, { "chain", { "evm", "local" } },
	}, function(put) put(1, native.version, deps.config.TEE, deps.config.CHAIN) end)
	return watch_lag(set:histogram("kms_loop_lag_seconds", "How late the loop runs a timer.", LAG_BOUNDS_S):with())
end

return M
