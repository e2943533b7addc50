--- What metrics cost: the note of one request, beside a derive's hundred microseconds and more; and a
-- whole page of a node with every route in use. lua5.4 spec/bench/bench_metrics.lua BUILD

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path
package.cpath = (arg[1] or "build") .. "/?.so;" .. package.cpath

local uv = require("luv")
local loop = require("kms.base.loop")
local measure = require("spec.bench.lib.measure")
local metrics = require("kms.admin.metrics")
local metrics_requests = require("kms.admin.metrics.requests")

local CALLS = 200000
local MOST_US, MOST_PAGE_US = 1, 5000
local ROUTES = { "overview", "health", "ready", "status", "nonce", "nodes", "derive", "get", "put", "delete", "sync" }
local CODES = { "ERR_RATE", "ERR_POP_NONCE", "ERR_DECRYPT", "ERR_NOT_READY", "ERR_KEY_SIZE" }

local median_us, report = measure.median_us, measure.report

local set, routes = metrics.new(), {}
for i, name in ipairs(ROUTES) do routes[i] = { name = name } end
local requests = metrics_requests.new(set, routes)
for _, name in ipairs(ROUTES) do
	requests:observe(name, { status = 200 }, 150000)
	for _, code in ipairs(CODES) do requests:observe(name, { status = 400, code = code }, 50000) end
end

print("Metrics")
local reply = { status = 200 }
report("note of one derive, with both clocks", median_us(function()
	local begun = uv.hrtime()
	requests:observe("derive", reply, uv.hrtime() - begun + 150000)
end, CALLS), "us", MOST_US)
local before = collectgarbage("count")
collectgarbage("stop")
for _ = 1, CALLS do requests:observe("derive", reply, 150000) end
report("memory of a note", (collectgarbage("count") - before) * 1024 / CALLS, "bytes", 1)
collectgarbage("restart")
report("page of every route and outcome", median_us(function() set:text(loop.try) end, 20), "us", MOST_PAGE_US)
