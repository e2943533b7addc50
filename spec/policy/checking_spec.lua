--- What is wrong with policy files: found before they are in force, with the line.

local files = require("spec.support.files")
local policy_kit = require("spec.support.policy_kit")
local schema = require("kms.policy.schema")
local uv = require("luv")

local FACTS = policy_kit.FACTS

describe("checking policies", function()
	local kit

	local function write(name, text) kit:write(name, text) end
	local function open(options) return kit:open(options) end
	local function mistakes_of(name, text) return kit:mistakes_of(name, text) end

	before_each(function() kit = policy_kit.new() end)
	after_each(function() kit:remove() end)

	it("refuses unknown names with the nearest known one and the line", function()
		assert.same({ "access.lua:2: unknown name 'derve', the nearest known one is 'derive'" },
			mistakes_of("access", "return {\n\tderve = function() end,\n}"))
	end)

	it("finds the line of what is set apart from the table that is returned", function()
		assert.same({
			"access.lua:2: unknown name 'derve', the nearest known one is 'derive'",
			"access.lua:3: unknown name 'requests', the nearest known one is 'request'",
			"access.lua:6: data[1]: 'decide' is missing",
		}, mistakes_of("access", "local M = {}\nM.derve = 1\nfunction M.requests() return { a = 1 } end\n"
			.. "-- M.derve = 2\nM.data = {\n { name = 'x' },\n}\nreturn M"))
	end)

	it("finds the line of a rule that a list only names", function()
		assert.same({
			"access.lua:1: data[1]: 'decide' is missing", "access.lua:1: derive[1]: 'decide' is missing",
			"access.lua:3: data[2].decide: 5 is not allowed: allowed is a function",
			"access.lua:3: derive[2].decide: 5 is not allowed: allowed is a function",
		}, mistakes_of("access", "local one = { name = 'one' }\nlocal two = {\n name = 'two', decide = 5 }\n"
			.. "local list = { one, two }\nlocal M = {}\nM.derive = { one, two }\nM.data = list\nreturn M"))
	end)

	it("gives the line of the member when a hook that fails has none itself", function()
		assert.same({
			"sync.lua:2: sync.accept fails when it is tried: bad argument #1 to '?' (string expected, got userdata)",
		}, mistakes_of("sync", "return {\naccept = string.len }"))
	end)

	it("names types and bounds", function()
		local bounds = " is not allowed: allowed is a whole number from 1 to 256"
		for text, expected in pairs({
			["return {\nparallel = 0 }"] = "sync.lua:2: parallel: 0" .. bounds,
			["return {\nparallel = 257 }"] = "sync.lua:2: parallel: 257" .. bounds,
			["return {\nparallel = 1.5 }"] = "sync.lua:2: parallel: 1.5" .. bounds,
			["return {\n\npeers = {} }"] = "sync.lua:3: peers: a table is not allowed: allowed is a function",
			["return {\ninterval = 'X' }"] = "sync.lua:2: interval: 'X' is not allowed: allowed is a number from 1 to 3600 or "
				.. "one of DATA_SYNC_INTERVAL_SECONDS",
			["return { api = 2 }"] = "sync.lua:1: api: api 2 is not what this node has: it has 1",
			["return 1"] = "sync.lua: sync.lua does not return a table",
			["return {"] = "sync.lua:1: unexpected symbol near <eof>",
			["error('x')"] = "sync.lua:1: x",
			["local x = nil\nreturn x.y"] = "sync.lua:2: attempt to index a nil value (local 'x')",
		}) do
			assert.same({ expected }, mistakes_of("sync", text), text)
		end
	end)

	it("takes what is at the bounds", function()
		for _, text in ipairs({ "parallel = 1", "parallel = 256", "interval = 1", "interval = 3600", "interval = 2.5" }) do
			write("sync", "return { " .. text .. " }")
			assert(open())
		end
	end)

	it("keeps scope all for evidence", function()
		assert.same({ "blacklist.lua:2: rules[1].scope: scope \"all\" is not possible for bad_hmac: anybody can cause it in "
			.. "a peer's name" },
			mistakes_of("blacklist", "return { rules = {\n{ event = 'bad_hmac', count = 1, within = 1, scope = 'all' } } }"))
		for event, evidence in pairs(schema.EVENTS) do
			write("blacklist", ("return { rules = { { event = %q, count = 1, within = 1, scope = 'all' } } }"):format(event))
			assert.equal(evidence, open() ~= nil, event)
		end
	end)

	it("keeps routes where the protocol has them", function()
		assert.same({ "routes.lua:2: [1].path: the path of derive is /kms/derive" },
			mistakes_of("routes", "return {\n{ method = 'POST', path = '/derive', handler = 'derive' } }"))
		assert.same({ "routes.lua:1: [1].method: the method of ready is GET" },
			mistakes_of("routes", "return { { method = 'POST', path = '/ready', handler = 'ready' } }"))
		for path, expected in pairs({
			["/status"] = "/status is the path of status", ["/kms/x"] = "paths below /kms are the protocol's",
			["/sync"] = "/sync is the path of sync",
		}) do
			local found = mistakes_of("routes", ("return { extra = { { name = 'x', path = %q, handler = function() return {} "
				.. "end } } }"):format(path))
			assert.same({ "routes.lua:1: extra[1].path: " .. expected }, found)
		end
	end)

	it("tries each hook, and finds what only running shows", function()
		assert.same({
			"access.lua:2: access.derive fails when it is tried: there is no fact 'pth'",
			"access.lua:3: access.data fails when it is tried: 'os' does not exist in a policy",
			"access.lua:4: access.request fails when it is tried: its verdict is neither true, false nor a table",
		}, mistakes_of("access", "return {\nderive = function(r) return r.pth == 'x' end,\n"
			.. "data = function() os.time() end,\nrequest = function() return 1 end }"))
		os.remove(kit.dir .. "/access.lua")
		assert.same({ "sync.lua:1: sync.peers fails when it is tried: it runs too long" },
			mistakes_of("sync", "return { peers = function(l) while true do end end }"))
	end)

	it("is not held up by a file that is long to look through", function()
		local begun = os.clock()
		write("blacklist", "do return { rules = 1 } end\nlocal b = { " .. ("b, "):rep(12) .. "}\nreturn { b }")
		local _, mistakes = open()
		assert.equal(1, #mistakes)
		write("blacklist", "local t = {} for i = 1, 24000 do t['k' .. i] = 1 end return t")
		_, mistakes = open()
		assert.equal(100, #mistakes)
		-- Nor by hooks that each take all the time that one may.
		local parts = {}
		for i = 1, 32 do
			parts[i] = ("{ name = 'n%d', path = '/x%d', handler = function() while s < s or true do end end },"):format(i, i)
		end
		write("blacklist", "return {}")
		write("routes", "local s = ('\\0'):rep(65535)\nreturn { extra = {\n" .. table.concat(parts, "\n") .. "\n} }")
		_, mistakes = open()
		assert.equal(4, #mistakes)
		assert.matches("routes.lua:%d+: .*it runs too long", mistakes[1])
		assert.is_true(os.clock() - begun < 5)
	end)

	it("finds a file whose name is nearly right", function()
		write("acces", "return {}")
		local opened, mistakes = open()
		assert.is_nil(opened)
		assert.same({ kit.dir .. "/acces.lua: is no policy file, the nearest is access.lua" }, mistakes)
		os.remove(kit.dir .. "/acces.lua")
		files.write(kit.dir .. "/access_spec.lua", "")
		files.write(kit.dir .. "/README.md", "")
		assert(open())
	end)

	it("refuses what is no file, and what is too large", function()
		assert(require("luv").fs_mkdir(kit.dir .. "/sync.lua", 448))
		assert.same({ kit.dir .. "/sync.lua: is not a file" }, select(2, open()))
		files.remove_dir(kit.dir .. "/sync.lua")
		write("sync", "return {} --" .. ("x"):rep(256 * 1024))
		assert.same({ kit.dir .. "/sync.lua: is larger than 256 KiB" }, select(2, open()))
		write("sync", "return {} --" .. ("x"):rep(256 * 1024 - 12))
		assert(open())
	end)

	it("refuses a folder and files that others can change", function()
		write("access", "return {}")
		assert(open())
		assert(uv.fs_chmod(kit.dir .. "/access.lua", 438)) -- 0666
		assert.same({ kit.dir .. "/access.lua: can be written by every user" }, select(2, open()))
		assert(uv.fs_chmod(kit.dir .. "/access.lua", 436)) -- 0664
		assert.same({ kit.dir .. "/access.lua: can be written by its group" }, select(2, open()))
		assert(uv.fs_chmod(kit.dir .. "/access.lua", 420)) -- 0644
		local p = assert(open())
		assert(uv.fs_chmod(kit.dir, 1023)) -- 01777
		assert.same({ kit.dir .. ": can be written by every user" }, select(2, open()))
		write("access", "return { derive = function() return false end }")
		assert.is_nil((p:reload("command")))
		assert.is_true(p:derive(FACTS))
		assert(uv.fs_chmod(kit.dir, 448))
		if uv.getuid() == 0 then
			assert(uv.fs_chown(kit.dir .. "/access.lua", 65534, 65534))
			assert.same({ kit.dir .. "/access.lua: belongs to another user" }, select(2, open()))
			assert(uv.fs_chown(kit.dir .. "/access.lua", 0, 0))
			assert(uv.fs_chown(kit.dir, 65534, 65534))
			assert.same({ kit.dir .. ": belongs to another user" }, select(2, open()))
		end
	end)

	it("reports ten mistakes in four files at once", function()
		write("access", "return {\n\tderive = 5,\n\trequst = function() end,\n\tdata = function(r) return r.kee end,\n}")
		write("sync", "return {\n\tparallel = 1000,\n\tmax_records = 0,\n\tbackoff = 'x',\n}")
		write("blacklist", "return {\n\trules = {\n\t\t{ event = 'nothing', count = 1, within = 1, scope = 'calls' },\n"
			.. "\t\t{ event = 'bad_hmac', count = 0, within = 1, scope = 'calls' },\n\t},\n\texempt = { 'me' },\n}")
		write("routes", "return {\n\t{ method = 'GET', path = '/x', handler = 'ready' },\n}")
		local _, mistakes = open()
		local places = {}
		for i, line in ipairs(mistakes) do places[i] = line:match("/(%a+%.lua:%d+): ") end
		assert.same({ "access.lua:2", "access.lua:3", "access.lua:4", "blacklist.lua:3", "blacklist.lua:4",
			"blacklist.lua:6", "routes.lua:2", "sync.lua:2", "sync.lua:3", "sync.lua:4" }, places)
	end)
end)
