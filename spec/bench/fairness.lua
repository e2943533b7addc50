--- What hostile clients cost an honest application: its calls to a node, quiet first, then beside a hostile client in
-- another process. lua5.4 spec/bench/fairness.lua BUILD [SECONDS [LOAD]]
--
-- The exit status says whether a call failed or a record was lost, not whether it was fast enough. The first load sends
-- nothing and only computes: what that costs is the machine's, not the node's. Run as root by `make fairness`, the node
-- and the honest client go before all other programs of the machine, and the hostile client does not.

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;" .. package.path

local uv = require("luv")
local build = (arg[1] or "build"):gsub("^" .. uv.cwd():gsub("%p", "%%%0") .. "/", "")
uv.os_setenv("KMS_BUILD", build) -- for the support modules
local cjson = require("cjson")
local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local honest_app = require("spec.bench.fairness.honest")
local names = require("spec.bench.fairness.names")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local MOST_RATIO = 3
local LOAD_S = tonumber(arg[2]) or 7
local QUIET_S = math.min(LOAD_S, 4)

-- Nodes run on their defaults but for these.
local LIMITS = { RATE_LIMIT_PER_MINUTE = false, NONCE_RATE_LIMIT_PER_MINUTE = false, APP_RATE_LIMIT_PER_MINUTE = false,
	MAX_CONNECTIONS_PER_ADDRESS = false, REGISTRY_CACHE_TTL_SECONDS = false, LOG_LEVEL = "error" }

-- ---- what a load needs before it begins ---------------------------------------------------------------------

local function member(node)
	local peer = peers.new(node, "member")
	node:register({ peer })
	wait.until_true("the node to know the member", function() return peer:ask_secret().status ~= 403 end)
	return peer:join()
end

-- 20 000 keys of 1000 bytes of the hostile application.
local function fill(node)
	local peer, number = member(node), 0
	for _ = 1, 10 do
		local records = {}
		for i = 1, 2000 do
			number = number + 1
			records[i] = peer:record(names.HOSTILE, ("%06d"):format(number) .. ("k"):rep(994), "")
		end
		local response = peer:delta({ [names.HOSTILE] = records })
		if response.status ~= 200 then error("fill: " .. response.body) end
	end
	peer:close()
end

local LOADS = {
	{ name = "computing", title = "no requests: a process that computes" },
	{ name = "bodies", title = "64 slow bodies of 4 MiB" },
	{ name = "long_keys", title = "long keys, empty values, a full store", env = { MAX_TOTAL_STORAGE_BYTES = 12 << 20 } },
	{ name = "lists", title = "lists of 20 000 long keys", prepare = fill },
	{ name = "pipelining", title = "pipelining beyond the limits" },
	{ name = "look_ups", title = "throw-away wallets, attestation" },
	{ name = "namespaces", title = "a member that invents namespaces", prepare = member },
}

-- ---- the hostile process --------------------------------------------------------------------------------------

local Hostile = {}
Hostile.__index = Hostile

-- What it printed last that is whole.
function Hostile:output()
	local last
	for line in (files.read(self.path) or ""):gmatch("([^\n]*)\n") do last = line end
	return last
end

function Hostile:stop()
	if self.process.code == nil then uv.kill(self.process.pid, "sigkill") end
	nodes.reap(self.process, 30)
end

-- Below the node's and the honest client's priority: in earnest it has a machine of its own.
local function start_hostile(load, node, secret)
	local self = setmetatable({ path = node.dir .. "/hostile.out" }, Hostile)
	local out = assert(uv.fs_open(self.path, "w", 384))
	local facts = cjson.encode({ port = node.port, wallet = node.wallet, der = crypto.hex(node.der), secret = secret })
	self.process = nodes.spawn(
		{
			"--other", "0", "nice", "-n", "5", "env", "LD_PRELOAD=" .. (os.getenv("LUA_PRELOAD") or ""), "lua5.4",
			"spec/bench/fairness/hostile.lua", load.name, facts,
		},
		{ program = "chrt", env = { KMS_BUILD = build } }, out, 2)
	uv.fs_close(out)
	wait.until_true("the hostile client to begin", function() return self:output() or self.process.code end)
	return self
end

-- ---- one load --------------------------------------------------------------------------------------------

local function percentile(times, share)
	return times[math.max(1, math.ceil(#times * share))] or 0 / 0
end

local function described(counts)
	local parts = {}
	for name, value in pairs(counts) do parts[#parts + 1] = ("%s: %d"):format(name, value) end
	table.sort(parts)
	return table.concat(parts, ", ")
end

local function show(load, honest, quiet, loaded, lost, did)
	local ratios = {}
	for i, kind in ipairs({ "derive", "put", "get", "first" }) do
		ratios[i] = percentile(loaded[kind], 0.99) / percentile(quiet[kind], 0.99)
	end
	print(("%-38s %7.0f %7.0f %7.0f %7.0f %8.2f %6.2f %6.2f %6.2f %6d %6d %5d  %s"):format(load.title,
		percentile(quiet.derive, 0.5), percentile(quiet.derive, 0.99), percentile(loaded.derive, 0.5),
		percentile(loaded.derive, 0.99), ratios[1], ratios[2], ratios[3], ratios[4], honest.calls, honest.failed, lost,
		ratios[1] <= MOST_RATIO and "ok" or "over"))
	print("  answers to the hostile client: " .. did)
	for why, count in pairs(honest.reasons) do print(("  failed %d times: %s"):format(count, why)) end
end

-- Returns whether nothing failed and nothing was lost.
local function measure(load, node)
	node:register({ apps.new(node, names.HOSTILE, "hostile"), apps.new(node, names.SECOND, "second hostile") })
	local honest = honest_app.new(node)
	local made = load.prepare and load.prepare(node)
	honest:begin()
	honest:measure(1) -- to warm up
	local quiet = honest:measure(QUIET_S)
	local hostile = start_hostile(load, node, made and crypto.hex(made.master))
	local ok, loaded, lost = pcall(function()
		local times = honest:measure(LOAD_S)
		return times, honest:lost()
	end)
	local ended, output = hostile.process.code, hostile:output()
	hostile:stop()
	honest:close()
	if not ok then error(loaded, 0) end
	if ended then error("the hostile client ended by itself, with code " .. ended, 0) end
	show(load, honest, quiet, loaded, lost, output == "ready" and "none" or described(cjson.decode(output)))
	return honest.failed == 0 and lost == 0
end

local function run(load)
	local env = {}
	for _, more in ipairs({ LIMITS, load.env or {} }) do
		for name, value in pairs(more) do env[name] = value end
	end
	local node = nodes.start({ env = env })
	local ok, held = pcall(measure, load, node)
	local alive = node:alive()
	node:stop()
	if not ok then error(held, 0) end
	if not alive then print("  the node ended") end
	return held and alive
end

local HEAD = "%-38s %7s %7s %7s %7s %8s %6s %6s %6s %6s %6s %5s  %s"
print("Fairness: an honest application's calls, microseconds, beside")
print(HEAD:format("", "quiet", "quiet", "loaded", "loaded", "derive", "put", "get", "first", "", "", "",
	"derive x p99"))
print(HEAD:format("", "p50", "p99", "p50", "p99", "x p99", "x p99", "x p99", "x p99", "calls", "failed", "lost",
	"at most " .. MOST_RATIO))
io.stdout:setvbuf("line")
local held = true
for _, load in ipairs(LOADS) do
	if not arg[3] or arg[3] == load.name then held = run(load) and held end
end
os.exit(held and 0 or 1, true)
