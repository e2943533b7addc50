--- What hostile hooks cost others: one application's requests run into hooks that never end, another
-- one's are timed, each behind four of the first. lua5.4 spec/bench/bench_storm.lua BUILD

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local uv = require("luv")
local build = (arg[1] or "build"):gsub("^" .. uv.cwd():gsub("%p", "%%%0") .. "/", "")
package.cpath = build .. "/?.so;" .. build .. "/spec/?.so;" .. package.cpath
uv.os_setenv("KMS_BUILD", build) -- for the support modules
local apps = require("spec.support.app")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")

local ROUNDS, STORM, MOST_RATIO = 400, 4, 3

local HOOKS = {
	{ "quiet: refused at once", "return false" },
	{ "endless loop", "while true do end" },
	{ "garbage", "local t = {} while true do t[#t + 1] = { {} } end" },
	{ "doubling a string", "local s = 'x' while true do s = s .. s end" },
	{ "comparing long strings", "local a, b = ('x'):rep(65000) .. 'a', ('x'):rep(65000) .. 'a' "
		.. "local n while true do n = a == b end" },
	{ "slow glob", "local s = ('a'):rep(8000) while true do kms.match('*a*a*a*a*a*b', s) end" },
}

local function percentile(times, share)
	return times[math.max(1, math.ceil(#times * share))]
end

local function round(storm, timed)
	local sent = {}
	for i, app in ipairs(storm) do
		sent[i] = app:send({ method = "POST", target = "/kms/derive", inner = { path = "p" } })
	end
	local begun = uv.hrtime()
	local status = timed:derive({ path = "p" }).status
	local took_us = (uv.hrtime() - begun) / 1000
	for i, app in ipairs(storm) do assert(app:receive(sent[i]).status == 403) end
	assert(status == 200, status)
	return took_us
end

-- Sorted times of the requests of others, in microseconds.
local function measure(storm, timed)
	local times = {}
	for i = 1, ROUNDS do times[i] = round(storm, timed) end
	table.sort(times)
	return times
end

local function run(node, folder)
	local timed, storm = apps.new(node, "700", "timed"), {}
	for i = 1, STORM do storm[i] = apps.new(node, "701", "storm " .. i) end
	node:register({ timed, table.unpack(storm) })
	print(("\n%-36s %10s %10s %10s"):format("Derives of others in a storm of", "p50 us", "p99 us", "x quiet"))
	local quiet
	for _, hook in ipairs(HOOKS) do
		folder:take(node, "access", ("return { derive = function(r) if r.app_id == '701' then %s end end }"):format(hook[2]))
		round(storm, timed)
		local times = measure(storm, timed)
		local p99 = percentile(times, 0.99)
		quiet = quiet or p99
		local ratio = p99 / quiet
		print(("  %-34s %10.0f %10.0f %10.2f   at most %g: %s"):format(
			hook[1], percentile(times, 0.5), p99, ratio, MOST_RATIO, ratio <= MOST_RATIO and "ok" or "over"))
	end
end

local folder = policies.new()
local node = nodes.start({ env = { POLICY_DIR = folder.dir, LOG_LEVEL = "error" } })
local ok, message = pcall(run, node, folder)
node:stop()
folder:remove()
if not ok then error(message, 0) end
