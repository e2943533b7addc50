--- Rules of the policies that are suspended for a time (kms.policy.suspensions).

local bans = require("kms.peers.bans")
local crypto = require("spec.support.crypto")
local native = require("spec.support.native")
local policy_kit = require("spec.support.policy_kit")
local suspensions = require("kms.policy.suspensions")

local WALLET = "0x" .. ("b"):rep(40)
local RULES = [[
local function refuse(path) return function(r) if r.path == path then return false, "not " .. path end end end
return { derive = {
	{ name = "a", decide = refuse("a") },
	{ name = "b", decide = refuse("b") },
	{ name = "ab", decide = function(r) if r.path == "a" or r.path == "b" then return { status = 429 } end end },
	{ name = "broken", decide = function(r) if r.path == "broken" then error("broken") end end },
	{ name = "endless", decide = function(r) if r.path == "endless" then while true do end end end },
} }
]]

describe("a suspended rule", function()
	local kit, p

	before_each(function()
		kit = policy_kit.new()
		kit:write("access", RULES)
		p = assert(kit:open())
	end)
	after_each(function() kit:remove() end)

	local function suspend(name, seconds, given) return p.suspensions:add(name, seconds or 60, given or {}) end
	local function derive(path, app) return p:derive({ app_id = app or "7", path = path }) end
	local function rule(name)
		for _, entry in ipairs(p:list_rules()) do
			if entry.full_name == name then return entry end
		end
	end

	it("is asked and counted, and what it refuses goes on to the rules after it", function()
		assert.equal("not a", derive("a").reason)
		assert(suspend("access.derive/a"))
		assert.same({ 429, "access.derive/ab" }, { derive("a").status, derive("a").rule })
		assert.equal("not b", derive("b").reason)
		assert(suspend("access.derive/ab"))
		assert.same({ true, "access.derive/a" }, { derive("a") })
		assert.same({ true }, { derive("c") })
		assert.same({ 1, 3 }, { rule("access.derive/a").refused, rule("access.derive/a").let_through })
		assert.same({ 2, 1 }, { rule("access.derive/ab").refused, rule("access.derive/ab").let_through })
		assert.equal(1, rule("access.derive").passed)
		assert.equal(kit.now_ms, rule("access.derive/a").hit_ms)
		assert.is_nil(rule("access.derive/broken").hit_ms)
	end)

	it("stays the same rule where the file changes its own list while it runs", function()
		kit:write("access", [[
local rules = {
	{ name = "first" },
	{ name = "a", decide = function(r) if r.path == "a" then return false, "not a" end end },
	{ name = "b", decide = function(r) if r.path == "b" then return false, "not b" end end },
}
rules[1].decide = function(r) if r.path == "shift" then table.remove(rules, 1) end end
return { derive = rules }
]])
		assert.is_true(p:reload("command"))
		assert(suspend("access.derive/a"))
		assert.is_true(derive("shift"))
		assert.is_true(derive("a"))
		assert.equal("not b", derive("b").reason)
		assert.same({ 0, 1 }, { rule("access.derive/a").refused, rule("access.derive/a").let_through })
		assert.same({ 1, 0 }, { rule("access.derive/b").refused, rule("access.derive/b").let_through })
	end)

	it("can be the last of 256", function()
		local rules = {}
		for i = 1, 256 do
			rules[i] = ("{ name = 'r%d', decide = function(r) if r.path == 'p%d' then return false end end },"):format(i, i)
		end
		kit:write("access", "return { derive = { " .. table.concat(rules, "\n") .. " } }")
		assert.is_true(p:reload("command"))
		for _, number in ipairs({ 1, 8, 9, 256 }) do
			local path = "p" .. number
			assert.equal(403, derive(path).status)
			assert(suspend("access.derive/r" .. number))
			assert.same({ true, "access.derive/r" .. number }, { derive(path) })
			assert.equal(403, derive("p" .. (number < 256 and number + 1 or 255)).status)
		end
	end)

	it("that fails refuses, and so do other rules of its hook that fail", function()
		assert(suspend("access.derive/broken"))
		assert(suspend("access.derive/endless"))
		for _, path in ipairs({ "broken", "endless" }) do
			local verdict = derive(path, path == "broken" and "7" or "8")
			assert.same({ 403, true }, { verdict.status, verdict.failed })
		end
		assert.same({ 2, 0 }, { rule("access.derive").failed, rule("access.derive").let_through })
		assert(suspend("access.derive"))
		assert.is_true(derive("broken", "9").failed)
		assert.is_true(derive("endless", "8").failed) -- at rest, since it ran too long
		-- A rule before one that fails has let nothing through.
		kit:write("access", "return { derive = { { name = 'no', decide = function() return false end }, "
			.. "{ name = 'bad', decide = function(r) if r.path == 'x' then error('x') end end } } }")
		assert.is_true(p:reload("command"))
		assert(suspend("access.derive/no"))
		assert.is_true(derive("x").failed)
		assert.equal(0, rule("access.derive/no").let_through)
	end)

	it("may be a hook: all of its list, or a function", function()
		assert(suspend("access.derive"))
		assert.same({ true, "access.derive/a" }, { derive("a") })
		assert.same({ 1, 1 }, { rule("access.derive/a").let_through, rule("access.derive/ab").let_through })
		kit:write("sync", "return { accept = function(r) return r.app_id ~= '7' end }")
		assert.is_true(p:reload("command"))
		local record = { app_id = "7", key = "k", size = 1, from = WALLET, now = 1 }
		assert.equal(403, p:accept(record).status)
		assert(suspend("sync.accept"))
		assert.same({ true, "sync.accept" }, { p:accept(record) })
		assert.same({ 1, 1 }, { rule("sync.accept").refused, rule("sync.accept").let_through })
	end)

	it("with the name of its hook is not the hook", function()
		kit:write("access", "return { derive = { { name = 'x', decide = function() return false, 'x' end }, "
			.. "{ name = 'access.derive', decide = function() return false end } } }")
		assert.is_true(p:reload("command"))
		assert(suspend("access.derive/access.derive"))
		assert.equal("x", derive("p").reason)
		assert(p.suspensions:resume("access.derive/access.derive"))
		assert(suspend("access.derive"))
		assert.is_true((derive("p")))
	end)

	it("of the blacklist bans nobody", function()
		local list = bans.new({ policy = p, ban_ms = 600000, wall_ms = p.wall_ms })
		local function event() return list:record(WALLET, "invalid_url", p.mono_ms()) end
		assert(suspend("blacklist.rules.3/invalid_url"))
		assert.is_nil(event())
		local counted = rule("blacklist.rules.3/invalid_url")
		assert.same({ 0, 1 }, { counted.refused, counted.let_through })
		assert(p.suspensions:resume("blacklist.rules.3/invalid_url"))
		assert.equal("invalid_url", event().event)
		assert.same({ 1, 1 }, { counted.refused, counted.let_through })
	end)

	it("is in force again when its time is over, whatever the wall clock says, and without any timer", function()
		local wall = 50000000
		p = assert(kit:open({ wall_ms = function() return wall end }))
		assert(suspend("access.derive/ab"))
		assert(suspend("access.derive/a", 90))
		kit.now_ms, wall = kit.now_ms + 59999, wall - 10000000
		assert.is_true((derive("a")))
		local shown = p:suspended()
		assert.same({ "access.derive/ab", 1, wall + 1 }, { shown[1].rule, shown[1].left_s, shown[1].until_ms })
		kit.now_ms = kit.now_ms + 1
		assert.equal(429, derive("a").status)
		kit.now_ms, wall = kit.now_ms + 37000, wall + 10000000
		assert.equal("not a", derive("a").reason)
		local in_force, ended = p:suspended()
		assert.same({}, in_force)
		assert.equal(wall - 7000, ended[2].ended_ms) -- its end, not when somebody noticed
		assert.same({ "access.derive/ab", "time" }, { ended[1].rule, ended[1].cause })
		assert.same({ "access.derive/a", "time" }, { ended[2].rule, ended[2].cause })
		local lines = kit:logged("policy rule no longer suspended")
		assert.same({ "warn", "access.derive/ab", "time" }, { lines[1].level, lines[1].fields.rule, lines[1].fields.cause })
		assert.equal(2, #lines)
	end)

	it("ends at a poll of the files where nobody is asked", function()
		assert(suspend("access.derive/a", 1))
		kit.now_ms = kit.now_ms + 1000
		assert.equal(0, #kit:logged("policy rule no longer suspended"))
		p:poll()
		assert.equal(1, #kit:logged("policy rule no longer suspended"))
	end)

	it("changes the hash that attestation documents have, and gives it back", function()
		local hash = p:hash()
		local function expected(names)
			return crypto.hex(crypto.sha256("NovaKMS:Suspended:" .. hash .. ":" .. names))
		end
		assert(suspend("access.derive/b"))
		assert.equal(expected("access.derive/b"), p:hash())
		assert(suspend("access.derive/a", 30))
		assert.equal(expected("access.derive/a,access.derive/b"), p:hash())
		assert.same({ p:hash(), hash }, { p:status().hash, p:status().set_hash })
		kit.now_ms = kit.now_ms + 30000
		assert.equal(expected("access.derive/b"), p:hash())
		assert(p.suspensions:resume("access.derive/b"))
		assert.equal(hash, p:hash())
	end)

	it("tells who listens, once for each beginning and end", function()
		local heard = {}
		p.suspensions:on_change(function(change)
			local one = change.begun or change.ended
			heard[#heard + 1] = ("%s %s %s"):format(change.begun and "begun" or "ended", one.rule.full_name,
				change.seconds or one.cause)
		end)
		assert(suspend("access.derive/a", 5, { uid = 7, why = "because" }))
		assert(suspend("access.derive/a", 9))
		assert.same({ true, true }, { p.suspensions:resume("access.derive/a", 8) })
		assert.same({ true, false }, { p.suspensions:resume("access.derive/a") })
		assert.same({ "begun access.derive/a 5", "ended access.derive/a renewed", "begun access.derive/a 9",
			"ended access.derive/a resume" }, heard)
		local first = kit:logged("policy rule suspended")[1]
		assert.same({ "warn", 7, "because", 5 }, { first.level, first.fields.uid, first.fields.why, first.fields.seconds })
		assert.equal(8, kit:logged("policy rule no longer suspended")[2].fields.uid)
	end)

	it("does not begin where who listens refuses: the rule is in force, though it was suspended before", function()
		local hash, takes = p:hash(), true
		p.suspensions:on_change(function(change) return change.ended ~= nil or takes end)
		assert(suspend("access.derive/ab"))
		assert(suspend("access.derive/a"))
		takes = false
		local one, message = suspend("access.derive/a", 90)
		assert.is_nil(one)
		assert.truthy(message:find("the audit log has no room", 1, true))
		assert.equal("not a", derive("a").reason)
		assert.equal(2, #kit:logged("policy rule suspended"))
		assert.equal(1, #p:suspended())
		assert(p.suspensions:resume("access.derive/ab"))
		assert.equal(hash, p:hash())
	end)

	it("keeps nothing of an old set of policies", function()
		local old = setmetatable({ rule("access.derive/a") }, { __mode = "v" })
		assert(suspend("access.derive/a"))
		kit:write("access", "return {}")
		assert.is_true(p:reload("command"))
		collectgarbage()
		collectgarbage()
		assert.is_nil(old[1])
	end)

	describe("when policies are reloaded", function()
		before_each(function() assert(suspend("access.derive/a")) assert(suspend("access.derive/ab")) end)

		local function ends(count) assert.equal(count, #kit:logged("policy rule no longer suspended")) end

		it("stays suspended where its file is the same, or has a mistake", function()
			kit:write("sync", "return { parallel = 3 }")
			local hash = p:hash()
			assert.same({ true, true }, { p:reload("command") })
			assert.is_true((derive("a")))
			assert.is_true(p:hash() ~= hash and p:hash() ~= p:status().set_hash)
			kit:write("access", "return {")
			assert.is_nil(p:reload("signal"))
			assert.is_true((derive("a")))
			kit:write("access", RULES)
			assert.same({ true, false }, { p:reload("signal") })
			assert.is_true((derive("a")))
			ends(0)
		end)

		it("is in force again where its file has changed, be it by a space", function()
			kit:write("access", RULES .. " ")
			assert.same({ true, true }, { p:reload("file") })
			assert.equal("not a", derive("a").reason)
			local _, ended = p:suspended()
			assert.same({ "reload", "reload" }, { ended[1].cause, ended[2].cause })
			assert.equal(p:status().set_hash, p:hash())
			ends(2)
		end)

		it("is gone with its rule", function()
			kit:write("access", "return {}")
			assert.is_true(p:reload("command"))
			assert.is_true(derive("a"))
			ends(2)
			kit:write("access", RULES)
			assert.is_true(p:reload("command"))
			assert.equal("not a", derive("a").reason)
		end)
	end)

	describe("is refused", function()
		local function why_not(...) return select(2, suspend(...)) end

		it("where no such rule is, with the names of those there are", function()
			local message = why_not("access.derive/x")
			assert.truthy(message:find("there is no such rule", 1, true), message)
			assert.truthy(message:find("access.derive, access.derive/a, access.derive/b, ", 1, true), message)
			assert.truthy(message:find("blacklist.rules.3/invalid_url", 1, true), message)
			assert.is_nil(message:find("release_secret", 1, true))
			assert.truthy(why_not("access.derive/endles"):find("the nearest is access.derive/endless;", 1, true))
			assert.is_nil(p.suspensions:resume("access.derive/x"))
		end)

		it("with a list of names that stays short", function()
			local rules = {}
			for i = 1, 256 do
				rules[i] = ("{ name = '%s%d', decide = function() end },"):format(("n"):rep(60), i)
			end
			kit:write("access", "return { derive = { " .. table.concat(rules) .. " } }")
			assert.is_true(p:reload("command"))
			local message = why_not("x")
			assert.is_true(#message < 800, message)
			assert.matches("and %d+ more, see nova%-kms policy show", message)
		end)

		it("where it hands out the master secret, sets a number or is a route", function()
			kit:write("sync", "return { release_secret = function() return false end }")
			assert.is_true(p:reload("command"))
			for _, name in ipairs({ "sync.release_secret", "sync.backoff", "routes.1/overview" }) do
				assert.truthy(rule(name), name)
				assert.truthy(why_not(name):find(name .. " cannot be suspended", 1, true), why_not(name))
			end
			assert.equal(403, p:release_secret({ wallet = WALLET }).status)
		end)

		it("for no time, and for longer than a day", function()
			for _, seconds in ipairs({ 0, -1, suspensions.MAX_SECONDS + 1, 1.5, math.maxinteger }) do
				assert.truthy(why_not("access.derive/a", seconds):find("1 to 86400 seconds", 1, true), seconds)
			end
			assert.equal("not a", derive("a").reason)
			assert(suspend("access.derive/a", suspensions.MAX_SECONDS))
			kit.now_ms = kit.now_ms + suspensions.MAX_SECONDS * 1000 - 1
			assert.equal(1, #p:suspended())
			kit.now_ms = kit.now_ms + 1
			assert.equal(0, #p:suspended())
		end)

		it("beyond sixteen at once", function()
			local rules = {}
			for i = 1, suspensions.MAX + 1 do rules[i] = ("{ name = 'r%d', decide = function() end },"):format(i) end
			kit:write("access", "return { data = { " .. table.concat(rules) .. " } }")
			assert.is_true(p:reload("command"))
			for i = 1, suspensions.MAX do assert(suspend("access.data/r" .. i, i == 3 and 5 or 60)) end
			local last = "access.data/r" .. suspensions.MAX + 1
			assert.truthy(why_not(last):find("16 rules are suspended, and that is the limit", 1, true))
			assert(suspend("access.data/r1", 90)) -- a new end takes no more room
			assert.equal(suspensions.MAX, #p:suspended())
			kit.now_ms = kit.now_ms + 5000
			assert(suspend(last))
			assert.truthy(why_not("access.data/r3"))
			assert(p.suspensions:resume("access.data/r2"))
			assert(suspend("access.data/r3"))
		end)
	end)

	it("is named to the VM by a set of 32 bytes and nothing else", function()
		local vm = native.policy_vm({})
		assert(vm:load("access", "return { derive = { { decide = function() return false end } } }"))
		local function call(...) return vm:call_past("access.derive", "verdict", 1, 1, ...) end
		local verdict, _, number, through = call("\1" .. ("\0"):rep(31), {})
		assert.same({ true, { 1 } }, { verdict, through })
		assert.is_nil(number)
		local refusal
		refusal, _, number, through = call(("\0"):rep(32), {})
		assert.same({ { status = 403 }, 1 }, { refusal, number })
		assert.is_nil(through)
		assert.equal(403, call("\254" .. ("\255"):rep(31), {}).status)
		for _, set in ipairs({ "", ("\255"):rep(31), ("\255"):rep(33), 1, false }) do
			assert.is_false(pcall(call, set, {}))
		end
	end)

	it("is remembered with the latest 32 that ended, the load of the policies with the latest 32", function()
		for i = 1, 40 do
			assert(suspend("access.derive/a", 60, { why = "round " .. i }))
			assert(p.suspensions:resume("access.derive/a"))
			kit:write("sync", ("return { parallel = %d }"):format(i))
			assert.is_true(p:reload("command"))
			for _ = 1, 3 do assert.is_true(p:reload("signal")) end
		end
		local _, ended = p:suspended()
		assert.same({ 32, "round 9", "round 40" }, { #ended, ended[1].why, ended[32].why })
		local history = p:history()
		assert.same({ 32, "unchanged", 3, "in_force" },
			{ #history, history[32].outcome, history[32].times, history[31].outcome })
		assert.equal(p:status().set_hash, history[31].hash)
	end)
end)
