--- A newcomer joins members that go on serving: how long it takes, what memory, how the members answer others
-- meanwhile, and whether it ever denies a record that was acknowledged before it was started.

local children = require("spec.bench.cluster.children")
local files = require("spec.support.files")
local http = require("spec.support.http")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local WRITERS, SERVING, NEWCOMER = 1, { 1, 2 }, 3
local WRITTEN_BYTES = 256
local QUIET_S = 2
local READY_S = 300
local NOT_FOUND = 404
local PREFIX = "during/" -- of the keys that are written meanwhile
local READS = 2000 -- at most, of the records that were acknowledged before
local MOST_DENIED = 20 -- of them, before it is known well enough

--- A value of a sorted list: that of this share from its start.
function M.percentile(sorted, share)
	return sorted[math.max(1, math.ceil(#sorted * share))] or 0 / 0
end

--- Waits until a node serves.
function M.wait_serving(cluster, index)
	wait.until_true("node " .. index .. " to serve", function()
		local reply = http.get(cluster:node(index).port, "/ready")
		return reply ~= nil and reply.status == 200
	end, READY_S)
end

-- The most memory that a node's process has had, in MiB.
local function most_memory(cluster, index)
	local text = files.read(("/proc/%d/status"):format(cluster:node(index).process.pid)) or ""
	return (tonumber(text:match("VmHWM:%s*(%d+)")) or 0 / 0) / 1024
end

-- Lets it count from now, where this process may: otherwise filling the store counts as well.
local function forget_memory(cluster, index)
	local file = io.open(("/proc/%d/clear_refs"):format(cluster:node(index).process.pid), "w")
	if not file then return end
	file:write("5")
	file:close()
end

--- Leaves only the first node, so that what fills its store is not sent at the same time.
function M.leave_one(cluster)
	cluster:kill(2, NEWCOMER)
end

--- Starts the second node, and waits until it holds as many records as the first one.
function M.bring_second(cluster)
	cluster:revive(2)
	M.wait_serving(cluster, 2)
	wait.until_true("the same records on both", function()
		return cluster:status(1).data_store.total_keys == cluster:status(2).data_store.total_keys
	end, READY_S)
end

--- Writes records onto the first node, as fast as it takes them.
-- @param o prefix, count, bytes
function M.fill(clients, name, o)
	local writer = children.write(clients[1], name, {
		prefix = o.prefix, count = o.count, bytes = o.bytes, rate = 1000000, connections = 8,
	})
	local list = writer:finish()
	for _, write in ipairs(list) do
		if write[2] ~= 200 then error("a write was answered " .. write[2], 0) end
	end
	if #list ~= o.count then error(("%d of %d writes"):format(#list, o.count), 0) end
end

local function acknowledged(writer)
	local keys = {}
	for _, write in ipairs(writer:pairs()) do
		if write[2] == 200 then keys[#keys + 1] = PREFIX .. write[1] end
	end
	return keys
end

-- Starts the newcomer and reads from it without pause what was acknowledged before, until it serves. Returns what it
-- denied, and the times before and after (ns).
local function join(cluster, client, keys)
	local denied, number = {}, 0
	local began = uv.hrtime()
	cluster:revive(NEWCOMER)
	wait.until_true("the newcomer to listen", function()
		return http.get(cluster:node(NEWCOMER).port, "/health") ~= nil
	end, READY_S)
	local deadline = began + READY_S * 1e9
	while true do
		number = number % #keys + 1
		local status = client:get(keys[number]).status
		if status == NOT_FOUND then denied[#denied + 1] = keys[number] end
		if status == 200 or status == NOT_FOUND then return denied, began, uv.hrtime() end
		if uv.hrtime() > deadline then error("the newcomer does not serve: " .. status, 0) end
		wait.holds(function() return false end, 0.002)
	end
end

-- Sorted times of the probes that began between two moments, in milliseconds.
local function times_between(probes, from, to)
	local times = {}
	for _, probe in ipairs(probes) do
		if probe[1] >= from and probe[1] < to then times[#times + 1] = probe[2] / 1000 end
	end
	table.sort(times)
	return times
end

local function health_of(list, from, to)
	local worst = 0
	for _, probes in ipairs(list) do worst = math.max(worst, M.percentile(times_between(probes, from, to), 0.99)) end
	return worst
end

local function read_back(client, keys, denied)
	for i = 1, #keys, math.max(1, #keys // READS) do
		if #denied < MOST_DENIED and client:value(keys[i]) == nil then denied[#denied + 1] = keys[i] end
	end
end

--- Has the third node, which is not running, join the two others.
-- @param clients one a node, of spec.support.cluster; @param name of their application
-- @param rate writes a second onto the first node meanwhile
-- @return { join_s; written (before it was started); denied (list of keys); health_ms, quiet_ms (p99 of GET /health
--   of the members, during and before); serving_mib, newcomer_mib (most memory) }
function M.measure(cluster, clients, name, rate)
	for _, index in ipairs(SERVING) do forget_memory(cluster, index) end
	local probers = {}
	for i, index in ipairs(SERVING) do probers[i] = children.health(cluster:node(index).port) end
	local writer = children.write(clients[WRITERS], name, {
		prefix = PREFIX, count = 1000000, bytes = WRITTEN_BYTES, rate = rate, connections = 16,
	}):wait_begun()
	local ok, denied, began, ended, keys, quiet_from
	local function run()
		quiet_from = uv.hrtime()
		wait.holds(function() return false end, QUIET_S)
		keys = acknowledged(writer)
		denied, began, ended = join(cluster, clients[NEWCOMER], keys)
		read_back(clients[NEWCOMER], keys, denied)
	end
	local failure
	ok, failure = pcall(run)
	local written, probes = writer:stop(), {}
	for i, prober in ipairs(probers) do probes[i] = prober:stop() end
	if not ok then error(failure, 0) end
	local bad = 0
	for _, write in ipairs(written) do if write[2] ~= 200 then bad = bad + 1 end end
	return {
		join_s = (ended - began) / 1e9, written = #keys, denied = denied, refused = bad,
		rate = #keys / ((began - quiet_from) / 1e9),
		health_ms = health_of(probes, began, ended), quiet_ms = health_of(probes, quiet_from, began),
		serving_mib = math.max(most_memory(cluster, 1), most_memory(cluster, 2)),
		newcomer_mib = most_memory(cluster, NEWCOMER),
	}
end

return M
