--- Many sessions: whether a message costs the same with 10 000 of them as with one, what each holds, and what 16 000
-- openings by one wallet leave of a node. lua5.4 spec/bench/bench_sessions.lua BUILD [SESSIONS [OPENINGS]]

package.path = "./?.lua;lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local uv = require("luv")
local build = (arg[1] or "build"):gsub("^" .. uv.cwd():gsub("%p", "%%%0") .. "/", "")
package.cpath = build .. "/?.so;" .. build .. "/spec/?.so;" .. package.cpath
uv.os_setenv("KMS_BUILD", build) -- for the support modules
local apps = require("spec.support.app")
local http = require("spec.support.http")
local measure = require("spec.bench.lib.measure")
local nodes = require("spec.support.node")
local sessions = require("spec.support.session_client")

local SESSIONS, OPENINGS = math.tointeger(arg[2]) or 10000, math.tointeger(arg[3]) or 16000
local PER_WALLET, WALLETS_OF_AN_APP = 64, 40 -- within what a node allows
local CONNECTIONS, ROUNDS, MESSAGES = 32, 61, 160
local MOST_RATIO, KEPT = 1.05, 8 -- KEPT: SESSIONS_PER_WALLET by default
-- Garbage that waits to be collected is up to three times of what is in use; 400 bytes left of each opening are more.
local MOST_KIB = 5120
local DERIVE = '{"op":"derive","path":"bench"}'

local function read(path)
	local file = assert(io.open(path))
	local text = file:read("a")
	file:close()
	return text
end

-- CPU time of all threads of the node, in nanoseconds.
local function cpu_ns(node)
	local sum, tasks = 0, ("/proc/%d/task"):format(node.pid)
	for name in uv.fs_scandir_next, assert(uv.fs_scandir(tasks)) do
		sum = sum + tonumber(read(("%s/%s/schedstat"):format(tasks, name)):match("%d+"))
	end
	return sum
end

local function resident_bytes(node)
	return tonumber(read(("/proc/%d/status"):format(node.pid)):match("VmRSS:%s*(%d+) kB")) * 1024
end

-- ---- one session and many ----------------------------------------------------------------------------------

-- Opens `count` sessions, of as many wallets as that takes, over one connection.
local function open_many(node, list, count)
	local conn
	for first = 1, count, PER_WALLET do
		local number = first // PER_WALLET
		local app = apps.new(node, tostring(1000 + number // WALLETS_OF_AN_APP), "bench " .. number)
		list.apps[#list.apps + 1] = app
	end
	node:register(list.apps)
	for number, app in ipairs(list.apps) do
		app.conn = conn
		for _ = 1, math.min(PER_WALLET, count - (number - 1) * PER_WALLET) do list[#list + 1] = sessions.open(app) end
		conn = app:connection()
	end
end

-- Sleeps until the node has done what it was sent. Whoever waits for answers instead is woken up by the node, the more
-- often the longer it works on a message: that was up to 1.7 us of one.
local function let_it_work(node, before)
	local seen
	repeat
		seen = cpu_ns(node)
		uv.sleep(2)
	until seen > before and cpu_ns(node) == seen
end

-- CPU time of the node for a message, in microseconds, of sessions that pick() chooses.
local function message_us(node, conns, pick)
	local spent = 0
	for _ = 1, MESSAGES // CONNECTIONS do
		local used, texts, numbers = {}, {}, {}
		for i = 1, CONNECTIONS do
			used[i] = pick()
			local body
			body, numbers[i] = used[i]:seal(DERIVE)
			texts[i] = http.format({ method = "POST", target = "/session/message", body = body })
		end
		local before = cpu_ns(node)
		for i, conn in ipairs(conns) do conn:write(texts[i]) end
		let_it_work(node, before)
		local answers = {}
		for i, conn in ipairs(conns) do answers[i] = assert(conn:receive({ method = "POST" })) end
		spent = spent + cpu_ns(node) - before
		for i, answer in ipairs(answers) do
			assert(used[i]:open_answer(answer.body, numbers[i]):find('"status":200', 1, true), answer.body)
		end
	end
	return spent / 1000 / MESSAGES
end

local function median(list)
	table.sort(list)
	return list[#list // 2 + 1]
end

-- Rounds are short, and one session and all of them come in random order, so that what else the machine does meets
-- both alike. Returns the medians of both, and the rounds' ratios in order.
local function compare(node, list)
	local conns, one, many, ratios = {}, {}, {}, {}
	for i = 1, CONNECTIONS do conns[i] = assert(http.connect(node.port)) end
	local function the_first() return list[1] end
	local function any() return list[math.random(#list)] end
	message_us(node, conns, any)
	for round = 1, ROUNDS do
		local one_first = math.random(2) == 1
		if one_first then one[round] = message_us(node, conns, the_first) end
		many[round] = message_us(node, conns, any)
		if not one_first then one[round] = message_us(node, conns, the_first) end
		ratios[round] = many[round] / one[round]
	end
	for _, conn in ipairs(conns) do conn:close() end
	table.sort(ratios)
	return median(one), median(many), ratios
end

local function bench_many()
	local node <close> = setmetatable({}, { __close = function(own) own.node:stop() end })
	node.node = nodes.start({ env = {
		SESSION_OPEN_PER_MINUTE = "0", SESSIONS_PER_WALLET = tostring(PER_WALLET), LOG_LEVEL = "error",
		REGISTRY_CACHE_TTL_SECONDS = "180", -- the default: a look-up a second of each wallet would be measured
	} })
	local list = { apps = {} }
	open_many(node.node, list, SESSIONS)
	local one_us, many_us, ratios = compare(node.node, list)
	print(("\n%-44s %9s"):format(("Messages of one session and of %d"):format(#list), "CPU us"))
	print(("  %-42s %9.2f\n  %-42s %9.2f"):format("one session", one_us, "any of them", many_us))
	measure.report("median of the rounds' ratios", ratios[#ratios // 2 + 1], "", MOST_RATIO)
	print(("  %-42s %9.2f to %.2f"):format("half of them are", ratios[#ratios // 4 + 1], ratios[#ratios * 3 // 4 + 1]))
end

-- ---- openings without end ----------------------------------------------------------------------------------

-- Whether a session serves, or is unknown.
local function serves(session)
	local status = sessions.post(session.app, (session:seal(DERIVE))).status
	assert(status == 200 or status == 410, status)
	return status == 200
end

local function bench_openings()
	local holder <close> = setmetatable({}, { __close = function(own) own.node:stop() end })
	local node = nodes.start({ env = { SESSION_OPEN_PER_MINUTE = "0", LOG_LEVEL = "error" } })
	holder.node = node
	local greedy, honest = apps.new(node, "400", "greedy"), apps.new(node, "401", "honest")
	node:register({ greedy, honest })
	local own, kept, settled, before = sessions.open(honest), {}, nil, nil
	for count = 1, OPENINGS do
		kept[count % (KEPT + 1)] = sessions.open(greedy)
		if count == OPENINGS // 8 then settled, before = resident_bytes(node), cpu_ns(node) end
		if count % 1000 == 0 then assert(serves(own), "another wallet is not served") end
	end
	local spent_us = (cpu_ns(node) - before) / 1000 / (OPENINGS - OPENINGS // 8)
	local more_kib = math.max(0, resident_bytes(node) - settled) / 1024
	local left = 0
	for _, session in pairs(kept) do left = left + (serves(session) and 1 or 0) end
	assert(left == KEPT, "the wallet has more or fewer sessions than SESSIONS_PER_WALLET")
	assert(serves(own), "another wallet is not served")
	print(("\n%d openings by one wallet: %d sessions are left; another wallet's serves throughout"):format(OPENINGS, left))
	print(("  %-42s %9.2f us"):format("CPU of one, and of its nonce", spent_us))
	measure.report("more memory than after an eighth of them", more_kib, "KiB", MOST_KIB)
end

bench_many()
bench_openings()
