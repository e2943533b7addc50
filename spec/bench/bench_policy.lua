--- What policies cost: the shipped access policy on a derive, and the longest that a hostile hook
-- holds the loop. lua5.4 spec/bench/bench_policy.lua BUILD

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path
package.cpath = (arg[1] or "build") .. "/?.so;" .. package.cpath

local measure = require("spec.bench.lib.measure")
local native = require("kms_native")
local policy = require("kms.policy")
local uv = require("luv")

local CALLS = 20000
local MOST_US, MOST_HOSTILE_MS = 5, 25

local FACTS = {
	route = "derive", app_id = "1000", version_id = "1", instance_id = "12", wallet = "0x" .. ("a"):rep(40),
	remote = "192.0.2.1", now = 1700000000000,
}
local DERIVE = { path = "wallet/root", context = "", length = 32 }
for name, value in pairs(FACTS) do DERIVE[name] = value end

local HOSTILE = {
	{ "endless loop", "while true do end" },
	{ "loop of pcalls", "while true do pcall(error) end" },
	{ "doubling a string", "local s = 'x' while true do s = s .. s end" },
	{ "garbage", "local t = {} while true do t[#t + 1] = { {} } end" },
	{ "comparing long strings", "local a, b = ('x'):rep(65000) .. 'a', ('x'):rep(65000) .. 'a' "
		.. "local n while true do n = a == b end" },
	{ "slow glob", "local s = ('a'):rep(8000) while true do kms.match('*a*a*a*a*a*b', s) end" },
	{ "sorting", "local t = {} for i = 1, 3000 do t[i] = -i end while true do table.sort(t) end" },
	{ "long argument lists", "local function f(...) return f(1, 2, 3, 4, 5, 6, 7, 8, 9, ...) end return f()" },
}

local median_us, report = measure.median_us, measure.report

assert(native.ready() or native.init(8 << 20))
local function open(dir)
	return assert(policy.open({
		native = native, dir = dir, shipped = "config/policy", wall_ms = native.wall_ms, mono_ms = native.mono_ms,
	}))
end

-- As the node asks: it gathers no facts for hooks that are not there.
local function derive_with(p)
	return function()
		assert(not p:wants("access.request") or p:request(FACTS) == true)
		assert(not p:wants("access.derive") or p:derive(DERIVE) == true)
	end
end

print("Policies")
report("shipped access policy, one derive", median_us(derive_with(open()), CALLS), "us", MOST_US)
local folder = os.tmpname() .. ".policies"
assert(uv.fs_mkdir(folder, 448))
local file = assert(io.open(folder .. "/access.lua", "w"))
file:write("return { request = function(r) end, derive = function(r) end }")
file:close()
report("two hooks that do nothing, one derive", median_us(derive_with(open(folder)), CALLS), "us", MOST_US)
os.remove(folder .. "/access.lua")
assert(uv.fs_rmdir(folder))
os.remove((folder:gsub("%.policies$", "")))

for _, hostile in ipairs(HOSTILE) do
	local vm = assert(native.policy_vm({}))
	assert(vm:load("access", "return { derive = function(r) " .. hostile[2] .. " end }"))
	local us = median_us(function() assert(not vm:call("access.derive", "verdict", 1, 1, DERIVE)) end, 3)
	report("hostile hook: " .. hostile[1], us / 1000, "ms", MOST_HOSTILE_MS)
end
