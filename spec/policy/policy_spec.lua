--- Policies: loading, shapes, swapping, failing, hashes, budgets, and that they only narrow.

local files = require("spec.support.files")
local native = require("spec.support.native")
local policy = require("kms.policy")
local schema = require("kms.policy.schema")
local sources = require("kms.policy.sources")
local uv = require("luv")

local SHIPPED = "config/policy"
local FACTS = {
	route = "derive", app_id = "7", version_id = "1", instance_id = "2", wallet = "0x" .. ("a"):rep(40),
	remote = "192.0.2.1", now = 1, path = "p", context = "", length = 32,
}
local REQUEST = {
	route = "derive", app_id = "7", version_id = "1", instance_id = "2", wallet = "0x" .. ("a"):rep(40),
	remote = "192.0.2.1", now = 1,
}

describe("kms.policy", function()
	local dir, now_ms, lines

	local function clock() return now_ms end

	-- A log that keeps its lines and limits as the real one does.
	local function log()
		local seen = {}
		local self = {}
		function self.enabled() return true end
		local function line(level) return function(_, event, fields)
			lines[#lines + 1] = { level = level, event = event, fields = fields }
		end end
		self.info, self.error, self.warn = line("info"), line("error"), line("warn")
		function self.log(_, level, event, fields) line(level)(nil, event, fields) end
		function self.limited(_, key, _, level, event, fields)
			if not seen[key] then line(level)(nil, event, fields) end
			seen[key] = true
		end
		return self
	end

	local function write(name, text) files.write(dir .. "/" .. name .. ".lua", text) end

	local function open(options)
		local given = { native = native, dir = dir, shipped = SHIPPED, wall_ms = clock, mono_ms = clock, log = log() }
		for name, value in pairs(options or {}) do given[name] = value end
		return policy.open(given)
	end

	-- The mistakes of a file, without the folder.
	local function mistakes_of(name, text)
		write(name, text)
		local opened, mistakes = open()
		assert.is_nil(opened, "nothing was found")
		for i, line in ipairs(mistakes) do mistakes[i] = line:gsub("^" .. dir:gsub("%p", "%%%0") .. "/", "") end
		return mistakes
	end

	before_each(function() dir, now_ms, lines = files.temp_dir(), 1000000, {} end)
	after_each(function() files.remove_dir(dir) end)

	describe("the shipped policies", function()
		it("stand for a missing folder, an empty one, and a copy of themselves", function()
			local missing = assert(open({ dir = dir .. "/none" })):status().hash
			local empty = assert(open()):status().hash
			for _, name in ipairs(schema.NAMES) do write(name, files.read(SHIPPED .. "/" .. name .. ".lua")) end
			local copy = assert(open()):status().hash
			assert.same({ missing, missing }, { empty, copy })
			assert.matches("^%x+$", missing)
			assert.equal(64, #missing)
		end)

		it("let everything through and change nothing", function()
			local p = assert(open())
			assert.is_true(p:request(REQUEST))
			assert.is_true(p:derive(FACTS))
			assert.is_true(p:data({ route = "put", app_id = "7", key = "k", size = 1, ttl_ms = 0 }))
			assert.is_true(p:accept({ app_id = "7", key = "k" }))
			assert.is_true(p:release_secret({ wallet = "0xa" }, nil))
			local list = { { wallet = "0xb" }, { wallet = "0xa" } }
			assert.same(list, p:order(list))
			assert.is_nil(p:decide_ban({ event = "bad_hmac", wallet = "0xa" }))
		end)

		it("name each route of the protocol, and each fact is documented", function()
			local p = assert(open())
			local routes = p:routes({
				NONCE_RATE_LIMIT_PER_MINUTE = 30, MAX_REQUEST_BODY_BYTES = 4 << 20, MAX_SYNC_PAYLOAD_BYTES = 50 << 20,
			})
			for handler in pairs(schema.HANDLERS) do assert.is_table(routes[handler], handler) end
			assert.same({}, routes.nonce)
			assert.same({ max_body = 4 << 20 }, routes.derive)
			assert.same({ max_body = 50 << 20 }, routes.sync)
			assert.same({}, p:extra_routes({}))
			write("routes", "return { { method = 'GET', path = '/nonce', handler = 'nonce', rate = "
				.. "'NONCE_RATE_LIMIT_PER_MINUTE' } }")
			p = assert(open())
			assert.same({ rate = 30, burst = 30 }, p:routes({ NONCE_RATE_LIMIT_PER_MINUTE = 30 }).nonce)
			assert.is_nil(p:routes({ NONCE_RATE_LIMIT_PER_MINUTE = 0 }).nonce.rate)
		end)

		it("stay where a file lists only extra routes, and lose what a file leaves out", function()
			local config = {
				NONCE_RATE_LIMIT_PER_MINUTE = 30, MAX_REQUEST_BODY_BYTES = 1000, MAX_SYNC_PAYLOAD_BYTES = 2000,
			}
			write("routes", "return { extra = { { name = 'x', path = '/x', rate = 5, handler = function(f) return { "
				.. "v = f.version } end }, { name = 'y', path = '/y', enabled = false, handler = function() return {} end } } }")
			local p = assert(open())
			assert.is_table(p:routes(config).derive)
			assert.same({ { number = 1, name = "x", path = "/x", rate = 5, burst = 5 } }, p:extra_routes(config))
			assert.same({ v = "1" }, p:extra(1, { version = "1" }))
			write("routes", "return { { method = 'PUT', path = '/kms/data', handler = 'put', max_body = 5000, rate = 9, "
				.. "burst = 2 }, { method = 'GET', path = '/nodes', handler = 'nodes', enabled = false } }")
			assert.is_true(p:reload("command"))
			assert.same({ put = { rate = 9, burst = 2, max_body = 1000 } }, p:routes(config))
		end)

		it("have the settings of the protocol", function()
			local p = assert(open())
			assert.same({ interval = 10, max_records = 5000, max_bytes = 4 << 20, parallel = 64 },
				p:sync_settings({ DATA_SYNC_INTERVAL_SECONDS = 10, MAX_SYNC_PAYLOAD_BYTES = 50 << 20 }))
			assert.equal(1 << 20,
				p:sync_settings({ DATA_SYNC_INTERVAL_SECONDS = 10, MAX_SYNC_PAYLOAD_BYTES = 1 << 20 }).max_bytes)
			local rules, exempt = p:ban_rules()
			assert.equal(6, #rules)
			assert.same({}, exempt)
			assert.same({ 1, 2, 16, 30, 30 }, {
				p:backoff({}, 1), p:backoff({}, 2), p:backoff({}, 5), p:backoff({}, 6), p:backoff({}, 1000),
			})
		end)
	end)

	describe("the hash", function()
		it("depends on names and contents, and on nothing else", function()
			local before = assert(open()):status().hash
			write("access", "return {}")
			local one = assert(open()):status().hash
			write("access", "return {} ")
			local two = assert(open()):status().hash
			write("access", "return {}")
			assert.equal(one, assert(open()):status().hash)
			assert.is_true(before ~= one and one ~= two)
			os.remove(dir .. "/access.lua")
			assert.equal(before, assert(open()):status().hash)
		end)

		it("tells apart what is moved from one file to another", function()
			local function moved(a, b)
				local all = {}
				for _, name in ipairs(schema.NAMES) do all[name] = { text = "" } end
				all.access.text, all.blacklist.text = a, b
				return all
			end
			local seen = {}
			for _, pair in ipairs({ { "ab", "" }, { "a", "b" }, { "", "ab" }, { "a\nblacklist 1\nb", "" }, { "", "" } }) do
				local hash = sources.hash(native, moved(pair[1], pair[2]))
				assert.is_nil(seen[hash])
				seen[hash] = true
			end
		end)
	end)

	describe("checking", function()
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
			os.remove(dir .. "/access.lua")
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
			assert.same({ dir .. "/acces.lua: is no policy file, the nearest is access.lua" }, mistakes)
			os.remove(dir .. "/acces.lua")
			files.write(dir .. "/access_spec.lua", "")
			files.write(dir .. "/README.md", "")
			assert(open())
		end)

		it("refuses what is no file, and what is too large", function()
			assert(require("luv").fs_mkdir(dir .. "/sync.lua", 448))
			assert.same({ dir .. "/sync.lua: is not a file" }, select(2, open()))
			files.remove_dir(dir .. "/sync.lua")
			write("sync", "return {} --" .. ("x"):rep(256 * 1024))
			assert.same({ dir .. "/sync.lua: is larger than 256 KiB" }, select(2, open()))
			write("sync", "return {} --" .. ("x"):rep(256 * 1024 - 12))
			assert(open())
		end)

		it("refuses a folder and files that others can change", function()
			write("access", "return {}")
			assert(open())
			assert(uv.fs_chmod(dir .. "/access.lua", 438)) -- 0666
			assert.same({ dir .. "/access.lua: can be written by every user" }, select(2, open()))
			assert(uv.fs_chmod(dir .. "/access.lua", 436)) -- 0664: the user's own group
			local p = assert(open())
			assert(uv.fs_chmod(dir, 1023)) -- 01777
			assert.same({ dir .. ": can be written by every user" }, select(2, open()))
			write("access", "return { derive = function() return false end }")
			assert.is_nil((p:reload("command")))
			assert.is_true(p:derive(FACTS))
			assert(uv.fs_chmod(dir, 448))
			if uv.getuid() == 0 then
				assert(uv.fs_chown(dir .. "/access.lua", 65534, 65534))
				assert.same({ dir .. "/access.lua: belongs to another user" }, select(2, open()))
				assert(uv.fs_chown(dir .. "/access.lua", 0, 0))
				assert(uv.fs_chown(dir, 65534, 65534))
				assert.same({ dir .. ": belongs to another user" }, select(2, open()))
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

	describe("a hook", function()
		it("refuses with what it says", function()
			write("access", [[return {
				derive = function(r)
					if r.path == "a" then return false end
					if r.path == "b" then return false, "no b" end
					if r.path == "c" then return { status = 429, reason = "slow", retry_after = 1.2 } end
					if r.path == "d" then return { status = 503 } end
					if r.path == "e" then return true end
				end }]])
			local p = assert(open())
			local function of(path)
				local facts = { path = path }
				return p:derive(facts)
			end
			assert.same({ status = 403, code = "ERR_POLICY", rule = "access.derive" }, of("a"))
			assert.same({ status = 403, code = "ERR_POLICY", rule = "access.derive", reason = "no b" }, of("b"))
			assert.same({ status = 429, code = "ERR_RATE", rule = "access.derive", reason = "slow", retry_after = 2 }, of("c"))
			assert.same({ status = 503, code = "ERR_BUSY", rule = "access.derive" }, of("d"))
			assert.is_true(of("e"))
			assert.is_true(of("f"))
		end)

		it("that fails refuses access and the secret, and gives way to the shipped one elsewhere", function()
			write("access", "return { derive = function(r) if r.path == 'bad' then error('oops') end end }")
			write("sync", [[
				local function fail(p) if p.wallet == "0xbad" then error("oops") end end
				return { release_secret = fail,
					accept = function(r) if r.key == "bad" then error("oops") end return false end,
					backoff = function(p, n) fail(p) return 7 end,
					peers = function(l) if #l == 3 then error("oops") end return {} end }]])
			local p = assert(open())
			assert.same({ status = 403, code = "ERR_POLICY", rule = "access.derive", failed = true }, p:derive({ path = "bad" }))
			assert.is_true(p:release_secret({ wallet = "0xbad" }).failed)
			assert.is_true(p:accept({ key = "bad" }))
			assert.equal(403, p:accept({ key = "good" }).status)
			assert.same({ 7, 1 }, { p:backoff({ wallet = "0xa" }, 1), p:backoff({ wallet = "0xbad" }, 1) })
			local three = { { wallet = "0xa" }, { wallet = "0xb" }, { wallet = "0xc" } }
			assert.same({}, p:order({ { wallet = "0xa" } }))
			assert.same(three, p:order(three))
			for _ = 1, 5 do p:derive({ path = "bad" }) end
			local logged = 0
			for _, line in ipairs(lines) do
				if line.event == "a policy failed" and line.fields.hook == "access.derive" then
					logged = logged + 1
					assert.matches("^access.lua:1: oops", line.fields.cause)
				end
			end
			assert.equal(1, logged)
			assert.is_true(p:status().failures >= 8)
		end)

		it("that runs too long rests for whoever made it, and for nobody else", function()
			write("access", "return { derive = function(r) if r.path == 'slow' then while true do end end end }")
			write("sync", "return { accept = function(r) if r.key == 'slow' then while true do end end return false end }")
			local p = assert(open())
			local function derive(app_id, path) return p:derive({ app_id = app_id, path = path }) end
			assert.is_true(derive("7", "p"))
			assert.is_true(derive("7", "slow").failed)
			assert.same({ status = 403, code = "ERR_POLICY", rule = "access.derive", failed = true }, derive("7", "p"))
			assert.is_true(derive("8", "p"))
			now_ms = now_ms + 1
			assert.is_true(derive("7", "p").failed)
			now_ms = now_ms + 60000
			assert.is_true(derive("7", "p"))
			-- Where failing gives way to the shipped one, resting does too.
			assert.is_true(p:accept({ from = "0xa", key = "slow" }))
			assert.is_true(p:accept({ from = "0xa", key = "k" }))
			assert.equal(403, p:accept({ from = "0xb", key = "k" }).status)
			derive("7", "slow")
			write("access", "return { derive = function() return true end }")
			assert.is_true(p:reload("command"))
			assert.is_true(derive("7", "p"))
			local resting = 0
			for _, counter in ipairs(p.own_counters:list()) do
				if counter.labels.why == "resting" then resting = resting + counter.value end
			end
			assert.equal(3, resting)
		end)

		it("that runs too long for one peer rests for that peer, and is counted whatever a policy counts", function()
			write("access", "return { derive = function(r) for i = 1, 4 do kms.count('x', { key = r.path .. i }) end "
				.. "if r.path == 'bad' then kms.count('failures') error('oops') end end }")
			write("sync", "return { release_secret = function(p) if p.url == 'slow' then while true do end end end }")
			local p = assert(open())
			local function ask(wallet, url) return p:release_secret({ wallet = wallet, app_id = "49", url = url }) end
			assert.is_true(ask("0xa", "slow").failed)
			assert.is_true(ask("0xa", "fast").failed)
			assert.is_true(ask("0xb", "fast"))
			for i = 1, 300 do p:derive({ app_id = "7", path = "k" .. i }) end
			p:derive({ app_id = "7", path = "bad" })
			local counted = {}
			for _, counter in ipairs(p.own_counters:list()) do
				counted[counter.name .. " " .. counter.labels.hook .. " " .. counter.labels.why] = counter.value
			end
			assert.same({
				["failures sync_release_secret overrun"] = 1, ["failures sync_release_secret resting"] = 1,
				["failures access_derive error"] = 1,
			}, counted)
		end)

		it("is one of a list of rules, of which the first that refuses decides", function()
			write("access", [[return { derive = {
				{ name = "one", description = "the first", decide = function(r) if r.path == "1" then return false end end },
				{ name = "two", decide = function(r) if r.path ~= "3" then return false, "two" end end },
			} }]])
			local p = assert(open())
			assert.equal("access.derive/one", p:derive({ path = "1" }).rule)
			assert.equal("access.derive/two", p:derive({ path = "2" }).rule)
			assert.is_true(p:derive({ path = "3" }))
			local counts = {}
			for _, rule in ipairs(p:list_rules()) do
				if rule.hook == "access.derive" then counts[rule.name] = { rule.passed, rule.refused, rule.line } end
			end
			assert.same({ ["access.derive"] = { 1, 0, 1 }, one = { 0, 1, 2 }, two = { 0, 1, 3 } }, counts)
		end)

		it("can limit, count, log, and see time, peers and stores", function()
			write("access", [[return { derive = function(r)
				if not kms.limit("k", 1, 2) then return { status = 429 } end
				kms.count("derives", { app = r.app_id })
				kms.log("info", "seen", { path = r.path })
				return false, kms.now() .. " " .. #kms.peers() .. " " .. kms.store("7").keys
			end }]])
			local p = assert(open())
			p:provide_peers({ { wallet = "0xa" } })
			assert.equal("1000000 1 0", p:derive(FACTS).reason)
			p:reload("command")
			assert.equal(403, p:derive(FACTS).status)
			assert.equal(429, p:derive(FACTS).status)
			now_ms = now_ms + 1000
			assert.equal("1001000 1 0", p:derive(FACTS).reason)
			assert.equal(3, p.counters:list()[1].value)
			assert.equal("policy_derives", p.counters:list()[1].name)
			assert.same({ hook = "access.derive", message = "seen", policy_path = "p" }, lines[#lines].fields)
		end)

		it("only narrows: nothing that it returns is more than going on", function()
			for _, verdict in ipairs({ "true", "nil", "" }) do
				write("access", ("return { request = function() return %s end, derive = function() return %s end }"):format(
					verdict, verdict))
				local p = assert(open())
				assert.is_true(p:request(REQUEST))
				assert.is_true(p:derive(FACTS))
			end
			-- Facts are copies: what a hook does to them changes no request.
			write("sync", "return { peers = function(l) for _, p in ipairs(l) do p.wallet = '0xevil' end return l end }")
			local p = assert(open())
			local list = { { wallet = "0xa", url = "u" } }
			assert.same({}, p:order(list))
			assert.same({ { wallet = "0xa", url = "u" } }, list)
			write("sync", "return { peers = function() return { '0xa', '0xa', '0xother', { wallet = '0xa' } } end }")
			assert.is_true(p:reload("command"))
			assert.same({ { wallet = "0xa", url = "u" } }, p:order(list))
			write("blacklist", "return { decide = function() return 60, 'all' end }")
			assert.is_true(p:reload("command"))
			assert.same({ seconds = 60.0, scope = "calls" }, p:decide_ban({ event = "bad_hmac" }))
			assert.same({ seconds = 60.0, scope = "all" }, p:decide_ban({ event = "poisoned_records" }))
		end)

		it("that fills its memory starts anew", function()
			write("access", "local kept = {}\nreturn { derive = function(r) if r.path == 'p' then for i = 1, 2000 do "
				.. "kept[#kept + 1] = { i } end end end }")
			local p = assert(open())
			local refused
			for _ = 1, 200 do
				refused = refused or p:derive(FACTS) ~= true
				now_ms = now_ms + 100
			end
			assert.is_true(refused)
			now_ms = now_ms + 1000
			p:derive(FACTS)
			assert.is_true(p:derive(FACTS))
		end)
	end)

	describe("reloading", function()
		it("swaps at once, and keeps the old set on any mistake", function()
			local p = assert(open())
			local first = p:status()
			assert.same({ "start", 1 }, { first.by, first.api })
			for _, bad in ipairs({ "return {", "error('x')", "while true do end",
				"return { derive = function() error('x') end }",
				"return { derive = function() local s = ('x'):rep(1 << 30) end }", "return { derivee = 1 }", "return 1" }) do
				write("access", bad)
				local ok, mistakes = p:reload("command")
				assert.is_nil(ok)
				assert.matches("/access%.lua", mistakes[1])
				local status = p:status()
				assert.same({ first.hash, first.since_ms, "start" }, { status.hash, status.since_ms, status.by })
				assert.same({ "command", mistakes[1] }, { status.last_error.by, status.last_error.first })
				assert.is_true(p:derive(FACTS))
			end
			write("access", "return { derive = function() return false end }")
			now_ms = now_ms + 5
			assert.same({ true, true }, { p:reload("signal") })
			local status = p:status()
			assert.is_true(status.hash ~= first.hash)
			assert.same({ now_ms, "signal" }, { status.since_ms, status.by })
			assert.is_nil(status.last_error)
			assert.equal(403, p:derive(FACTS).status)
			assert.same({ true, false }, { p:reload("signal") })
			assert.equal(9, #p:history())
		end)

		it("keeps the old set where the files load once and not a second time", function()
			local loads = -100 -- of access.lua: the third from 0 on is the last one that is whole
			local double = setmetatable({
				policy_vm = function(options)
					local vm = native.policy_vm(options)
					return setmetatable({
						load = function(_, name, text)
							if name == "access" then loads = loads + 1 end
							if loads >= 3 and name == "sync" then return nil, "sync.lua:7: it runs too long" end
							return vm:load(name, text)
						end,
						memory = function() return 4, 4 end,
					}, { __index = function(_, method) return function(_, ...) return vm[method](vm, ...) end end })
				end,
			}, { __index = native })
			write("access", "return { derive = function(r) local s = 'x' "
				.. "while r.path == 'q' do s = s .. s end return { status = 429 } end }")
			local p = assert(open({ native = double }))
			loads = 1
			write("access", "return { derive = function() return false end }")
			local ok, errors = p:reload("command")
			assert.is_nil(ok)
			assert.same({ SHIPPED .. "/sync.lua:7: it runs too long" }, errors)
			assert.equal(errors[1], p:status().last_error.first)
			assert.equal(429, p:derive(FACTS).status)
			-- Nor does one that has filled its memory break down when it cannot start anew.
			assert.is_true(p:derive({ app_id = "7", path = "q" }).failed)
			assert.equal("policies cannot start anew", lines[#lines].event)
			assert.equal(429, p:derive({ app_id = "8", path = "p" }).status)
		end)

		it("notices files that change, once each", function()
			local p = assert(open())
			assert.same({ true, false }, { p:poll() })
			write("access", "return { derive = function() return false end }")
			assert.same({ true, true }, { p:poll() })
			assert.same({ true, false }, { p:poll() })
			write("access", "return {")
			assert.is_nil(p:poll())
			assert.same({ true, false }, { p:poll() })
			assert.equal(403, p:derive(FACTS).status)
			os.remove(dir .. "/access.lua")
			assert.same({ true, true }, { p:poll() })
			assert.is_true(p:derive(FACTS))
		end)

		it("works a thousand times without growing", function()
			local p = assert(open())
			local function round(i)
				write("access", ("return { derive = function() return false, %q end }"):format(tostring(i)))
				assert.is_true(p:reload("command"))
				assert.equal(tostring(i), p:derive(FACTS).reason)
			end
			for i = 1, 50 do round(i) end
			collectgarbage()
			local before = collectgarbage("count")
			for i = 51, 250 do round(i) end
			collectgarbage()
			assert.is_true(collectgarbage("count") < before + 512)
		end)
	end)

	describe("budgets", function()
		local function new(options, body)
			local vm = assert(native.policy_vm(options))
			assert(vm:load("access", "return { derive = function(r) " .. body .. " end }"))
			return vm
		end

		local function runs(vm)
			local result, _, _, why = vm:call("access.derive", "verdict", 1, 1, FACTS)
			return result, why
		end

		it("of instructions hold exactly", function()
			local body = "for i = 1, 1000 do end"
			local low, high = 1, 20000
			while low < high do
				local middle = (low + high) // 2
				if runs(new({ instructions = middle }, body)) then high = middle else low = middle + 1 end
			end
			assert.is_true(runs(new({ instructions = low }, body)))
			assert.same({ nil, "overrun" }, { runs(new({ instructions = low - 1 }, body)) })
			assert.same({ nil, "overrun" }, { runs(new({ instructions = low }, "for i = 1, 1001 do end")) })
		end)

		it("of memory hold, and less than half of it at rest", function()
			local vm = new({ memory = 256 << 10, instructions = 1 << 20, cpu_ms = 10000 },
				"local t = {} for i = 1, 100000 do t[i] = { i } end")
			assert.same({ nil, "memory" }, { runs(vm) })
			local used, cap = vm:memory()
			assert.is_true(used <= cap)
			local big = "local t = { '" .. ("x"):rep(40000) .. "1', '" .. ("x"):rep(40000) .. "2' } return { t = t }"
			local small = assert(native.policy_vm({ memory = 128 << 10 }))
			local ok, message, _, why = small:load("access", big)
			assert.same({ nil, "memory" }, { ok, why }, message)
			assert(assert(native.policy_vm({ memory = 512 << 10 })):load("access", big))
		end)

		it("of strings hold at 65536 bytes", function()
			assert.is_true(runs(new({}, "local s = ('x'):rep(65536) return #s == 65536")))
			assert.same({ nil, "error" }, { runs(new({}, "local s = ('x'):rep(65537)")) })
			assert.is_true(runs(new({}, "local s = ('x'):rep(65535) .. 'y' return #s == 65536")))
			assert.same({ nil, "memory" }, { runs(new({}, "local s = ('x'):rep(65536) .. ('y'):rep(100)")) })
			local vm = new({}, "return #r.path > 0")
			assert.is_true((vm:call("access.derive", "verdict", 1, 1, { path = ("x"):rep(65536) })))
			local result, message, code, why = vm:call("access.derive", "verdict", 1, 1, { path = ("x"):rep(65537) })
			assert.is_nil(result)
			assert.same({ "a text is longer than 65536 bytes", "ERR_POLICY", "nonsense" }, { message, code, why })
		end)

		it("of facts hold: depth, and what is no plain data", function()
			local vm = new({}, "")
			local function nested(depth)
				local t = {}
				for _ = 2, depth do t = { t } end
				return t
			end
			local function call(facts) return vm:call("access.derive", "verdict", 1, 1, facts) end
			assert.is_true((call(nested(8))))
			assert.is_nil((call(nested(9))))
			for _, bad in ipairs({ { f = print }, { f = io.stdout }, { [1.5] = 1 }, { [true] = 1 }, { [{}] = 1 } }) do
				local result, _, _, why = call(bad)
				assert.same({ nil, "nonsense" }, { result, why })
			end
			local cycle = {}
			cycle.self = cycle
			assert.is_nil((call(cycle)))
			assert.is_true((call({})))
		end)

		it("of what a policy returns hold: text there many times, tables that are long to go over", function()
			local vm = assert(native.policy_vm({}))
			assert(vm:load("access", "local s, t = ('x'):rep(60000), {} for i = 1, 45000 do t[i] = s end "
				.. "return { t = t, page = function() return t end }"))
			local before = collectgarbage("count")
			local data, message = vm:read("access")
			assert.same({ nil, "it has more than 4 MiB of text" }, { data, message })
			assert.is_true(collectgarbage("count") - before < 16384)
			local result, _, _, why = vm:call("access.page", "data", 1, 1)
			assert.same({ nil, "overrun" }, { result, why })

			vm = assert(native.policy_vm({ memory = 16 << 20 }))
			assert(vm:load("access", "local big, t = {}, {} for i = 1, 130000 do big[i] = i end for i in pairs(big) do "
				.. "big[i] = nil end for i = 1, 40000 do t[i] = big end return { t = t, page = function() return t end }"))
			local begun = os.clock()
			data, message = vm:read("access")
			assert.same({ nil, "it takes too long to copy" }, { data, message })
			result, message, _, why = vm:call("access.page", "data", 1, 1)
			assert.same({ nil, "nonsense" }, { result, why }, message)
			assert.matches("it takes too long to copy$", message)
			assert.is_true(os.clock() - begun < 1)
		end)

		it("of log lines and counters hold", function()
			local vm = new({}, "for i = 1, 20 do kms.count('c', { i = i }) end")
			local _, notes = vm:call("access.derive", "verdict", 1, 1, FACTS)
			assert.equal(16, #notes)
			assert.equal(4, notes.dropped)
			vm = new({}, "for i = 1, 16 do kms.log('info', 'm') end")
			_, notes = vm:call("access.derive", "verdict", 1, 1, FACTS)
			assert.same({ 16, nil }, { #notes, notes.dropped })
			-- What a hook said before it failed is not lost.
			vm = new({}, "kms.log('info', 'm', { a = 1, b = 'x', c = true }) error('x')")
			notes = select(5, vm:call("access.derive", "verdict", 1, 1, FACTS))
			assert.same({ { level = "info", message = "m", fields = { a = 1, b = "x", c = true } } }, notes)
		end)

		it("refuse misuse by the node's own code", function()
			for _, options in ipairs({ { memory = 1 }, { instructions = 0 }, { cpu_ms = 0 }, { unknown = 1 }, { store = 1 },
				{ buckets = native.nonces(1) }, { facts = 1 } }) do
				assert.has_error(function() native.policy_vm(options) end)
			end
			local vm = new({}, "")
			assert.has_error(function() vm:call("access", "verdict", 1, 1) end)
			assert.has_error(function() vm:call("access.derive", "other", 1, 1) end)
			assert.has_error(function() vm:call("access.derive", "verdict", -1, 1) end)
			assert.has_error(function() vm:load("a.b", "return {}") end)
			assert.has_error(function() vm:load("a", ("x"):rep(262145)) end)
			assert.has_error(function() vm:provide("other", {}) end)
			assert.has_error(function() native.policy_buckets(1) end)
			vm:close()
			vm:close()
			assert.has_error(function() vm:memory() end, "calling 'memory' on bad self (is closed)")
		end)
	end)
end)
