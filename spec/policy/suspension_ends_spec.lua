--- Suspensions of rules (kms.policy.suspensions): in what order they change and end, and what rules keep meanwhile.

local bans = require("kms.peers.bans")
local policy_kit = require("spec.support.policy_kit")

local WALLET = "0x" .. ("b"):rep(40)
local RULES = [[
local function refuse(path) return function(r) if r.path == path then return false, "not " .. path end end end
return { derive = {
	{ name = "a", decide = refuse("a") },
	{ name = "b", decide = refuse("b") },
	{ name = "ab", decide = function(r) if r.path == "a" or r.path == "b" then return { status = 429 } end end },
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

	it("has the hash that those who listen see after each change, also where a new end is refused", function()
		local set_hash, heard, takes = p:hash(), {}, true
		p.suspensions:on_change(function(change)
			heard[#heard + 1] = p:hash()
			return change.ended ~= nil or takes
		end)
		assert(suspend("access.derive/a"))
		local suspended_hash = p:hash()
		assert(suspend("access.derive/a", 90))
		assert.same({ suspended_hash, set_hash, suspended_hash }, heard)
		takes = false
		assert.is_nil((suspend("access.derive/a")))
		assert.equal(set_hash, heard[4]) -- the end, which stands though the beginning after it does not
		assert.equal(set_hash, p:hash())
	end)

	it("ends before those whose time is over later, however late somebody notices", function()
		local heard = {}
		p.suspensions:on_change(function(change)
			if change.ended then heard[#heard + 1] = change.ended.rule.full_name end
		end)
		assert(suspend("access.derive/b", 2))
		assert(suspend("access.derive/a", 3))
		assert(suspend("access.derive/ab", 1))
		kit.now_ms = kit.now_ms + 60000
		local _, ended = p:suspended()
		local order = { "access.derive/ab", "access.derive/b", "access.derive/a" }
		assert.same(order, heard)
		assert.same(order, { ended[1].rule, ended[2].rule, ended[3].rule })
		for i, line in ipairs(kit:logged("policy rule no longer suspended")) do assert.equal(order[i], line.fields.rule) end
	end)

	it("ends when the node stops, and none begins after that", function()
		local heard = {}
		p.suspensions:on_change(function(change)
			if change.ended then heard[#heard + 1] = change.ended.rule.full_name .. " " .. change.ended.cause end
		end)
		assert(suspend("access.derive/a", 1))
		assert(suspend("access.derive/ab"))
		assert(suspend("access.derive/b"))
		kit.now_ms = kit.now_ms + 1000
		p.suspensions:stop()
		assert.same({ "access.derive/a time", "access.derive/ab stop", "access.derive/b stop" }, heard)
		assert.equal("not a", derive("a").reason)
		assert.equal(p:status().set_hash, p:hash())
		local one, message = suspend("access.derive/a")
		assert.is_nil(one)
		assert.truthy(message:find("the node stops", 1, true))
		assert.same({ true, false }, { p.suspensions:resume("access.derive/a") })
	end)

	it("that uses up its memory refuses, and is suspended as before in the VM that starts anew", function()
		kit:write("access", [[
local kept = {}
return { derive = {
	{ name = "a", decide = function(r)
		while r.path == "hog" do kept[#kept + 1] = ("x"):rep(60000) .. #kept end
		if r.path == "a" then return false end
	end },
	{ name = "b", decide = function(r) if r.path == "b" then return { status = 429, retry_after = 7 } end end },
} }]])
		assert.is_true(p:reload("command"))
		assert(suspend("access.derive/a"))
		assert.is_true(derive("hog", "9").failed)
		assert.same({ true, "access.derive/a" }, { derive("a") })
		assert.same({ 429, 7, "access.derive/b" }, { derive("b").status, derive("b").retry_after, derive("b").rule })
	end)

	it("keeps what it counts and limits, and so do the rules after it", function()
		kit:write("access", [[
local calls = 0
return { derive = {
	{ name = "third", decide = function() calls = calls + 1 if calls >= 3 then return false end end },
	{ name = "limit", decide = function()
		if not kms.limit("k", 1, 2) then return { status = 429, retry_after = 9 } end
	end },
} }]])
		assert.is_true(p:reload("command"))
		assert(suspend("access.derive/third"))
		assert.same({ true }, { derive("p") })
		assert.same({ true }, { derive("p") })
		assert.same({ "access.derive/limit", 9 }, { derive("p").rule, derive("p").retry_after })
		assert(suspend("access.derive/limit"))
		assert.same({ true, "access.derive/third" }, { derive("p") })
		assert(p.suspensions:resume("access.derive/third"))
		assert.equal("access.derive/third", derive("p").rule)
	end)

	it("of the blacklist lifts no ban, and stops no other rule of the same event", function()
		kit:write("blacklist", [[
return { rules = {
	{ name = "soft", event = "bad_hmac", count = 1, within = 60, ban = 10, scope = "calls" },
	{ name = "hard", event = "bad_hmac", count = 2, within = 60, ban = 100, scope = "calls" },
} }]])
		assert.is_true(p:reload("command"))
		local list = bans.new({ policy = p, ban_ms = 600000, wall_ms = p.wall_ms })
		local function event() return list:record(WALLET, "bad_hmac", p.mono_ms()) end
		assert.equal("soft", event().rule)
		assert(suspend("blacklist.rules.1/soft"))
		assert.equal("soft", list:calls(WALLET, p.mono_ms()).rule)
		assert.equal("hard", event().rule)
		assert(suspend("blacklist.rules.2/hard"))
		assert.equal("hard", list:calls(WALLET, p.mono_ms()).rule)
		assert.is_nil(event())
		assert.equal("hard", list:calls(WALLET, p.mono_ms() + 99999).rule)
		assert.is_nil(list:calls(WALLET, p.mono_ms() + 100000))
	end)
end)
