--- What a sealed snapshot of 100 MiB costs requests that come meanwhile: 250 reads a second, in sessions. Their p99
-- with a snapshot, as a multiple of the p99 without: the median of pairs, since what else runs on the machine changes
-- from one second to the next. lua5.4 spec/bench/bench_snapshot.lua BUILD [ROUNDS]

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local uv = require("luv")
local build = (arg[1] or "build"):gsub("^" .. uv.cwd():gsub("%p", "%%%0") .. "/", "")
package.cpath = build .. "/?.so;" .. build .. "/spec/?.so;" .. package.cpath
uv.os_setenv("KMS_BUILD", build) -- for the support modules
local client = require("kms.client")
local fetch = require("kms.http.fetch")
local files = require("spec.support.files")
local loop = require("kms.base.loop")
local measure = require("bench.lib.measure")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local session = require("kms.cli.session")
local sim = require("kms.tee.sim")

local PER_SECOND, CLIENTS, PHASE_MS = 250, 16, 4000
local VALUES, VALUE = 100, ("v"):rep(1 << 20)
local ROUNDS, MOST_RATIO = math.tointeger(tonumber(arg[2] or 7)), 1.5

-- Clients that are not busy, and the times that calls took, in microseconds from when they were due.
local function new_load(node, app)
	local load = { free = {}, times = {}, failed = 0 }
	for i = 1, CLIENTS do
		load.free[i] = assert(client.open({
			url = "http://127.0.0.1:" .. node.port, seed = app.seed, node_wallet = node.wallet,
			node_pubkey = native.hex_encode(node.der), timeout_ms = 60000,
		}))
	end
	return load
end

local function call(load, due_ns)
	local one = table.remove(load.free)
	while not one do
		loop.sleep(1)
		one = table.remove(load.free)
	end
	local ok = one:call("get", { key = "small" })
	load.free[#load.free + 1] = one
	load.times[#load.times + 1] = (uv.hrtime() - due_ns) / 1000
	if not ok then load.failed = load.failed + 1 end
end

-- Calls at the rate until is_over(), and returns the p99 in microseconds. Yields.
local function phase(load, is_over)
	load.times = {}
	local begun, sent = uv.hrtime(), 0
	while not is_over() do
		local due = 1 + (uv.hrtime() - begun) * PER_SECOND // 1000000000
		while sent < due do
			local due_ns = begun + sent * 1000000000 // PER_SECOND
			sent = sent + 1
			loop.spawn(call, load, due_ns)
		end
		loop.sleep(1)
	end
	while #load.times < sent do loop.sleep(1) end
	table.sort(load.times)
	return load.times[math.ceil(#load.times * 0.99)]
end

local function write_all(load)
	local one = load.free[1]
	assert(one:call("put", { key = "small", value = "x" }))
	for i = 1, VALUES do assert(one:call("put", { key = "large " .. i, value = VALUE })) end
end

-- A full set each: after a change of more than half of it.
local function round(node, load)
	write_all(load)
	local ends_ms = uv.now() + PHASE_MS
	local without = phase(load, function() return uv.now() >= ends_ms end)
	local begun, saved = uv.hrtime(), nil
	loop.spawn(function()
		saved = assert(fetch.json({
			url = "http://localhost/snapshots", method = "POST", unix_socket = node.dir .. "/control.sock",
			timeout_ms = 600000, max_bytes = 65536,
		}))
	end)
	local with = phase(load, function() return saved end)
	assert(saved.status == 200, saved.body)
	return without, with, (uv.hrtime() - begun) / 1e9
end

local function run(node, app)
	local load, ratios = new_load(node, app), {}
	print(("Requests beside a sealed snapshot of 100 MiB: p99 without, with, ratio (target: at most %g), seconds"):format(
		MOST_RATIO))
	for i = 1, ROUNDS do
		local without, with, seconds = round(node, load)
		ratios[i] = with / without
		print(("  %10.0f us %10.0f us %8.2f %8.1f s"):format(without, with, ratios[i], seconds))
	end
	assert(load.failed == 0, load.failed .. " calls failed")
	table.sort(ratios)
	local what = ("p99 with a snapshot, of without (median of %d)"):format(ROUNDS)
	measure.report(what, ratios[ROUNDS // 2 + 1], "", MOST_RATIO)
end

local dir = files.temp_dir()
local node = nodes.start({ env = {
	SNAPSHOT = dir, SNAPSHOT_INTERVAL_SECONDS = "86400", LOG_LEVEL = "error",
	MAX_APP_STORAGE_BYTES = tostring(300 << 20), SESSIONS_PER_WALLET = tostring(CLIENTS), -- one for each
} })
local ok, message = pcall(session.wait, function()
	run(node, { seed = assert(sim.seed(node.dir .. "/demo-app.seed")) })
end)
node:kill()
files.remove_dir(dir)
if not ok then error(message, 0) end
