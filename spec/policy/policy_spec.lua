--- Policies in force: the shipped ones, the hash, what hooks may do, and that they only narrow.

local files = require("spec.support.files")
local native = require("spec.support.native")
local policy_kit = require("spec.support.policy_kit")
local schema = require("kms.policy.schema")
local sources = require("kms.policy.sources")

local SHIPPED = policy_kit.SHIPPED
local FACTS = policy_kit.FACTS
local REQUEST = policy_kit.REQUEST

describe("kms.policy", function()
	local kit

	local function write(name, text) kit:write(name, text) end
	local function open(options) return kit:open(options) end

	before_each(function() kit = policy_kit.new() end)
	after_each(function() kit:remove() end)

	describe("the shipped policies", function()
		it("stand for a missing folder, an empty one, and a copy of themselves", function()
			local missing = assert(open({ dir = kit.dir .. "/none" })):status().hash
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
			os.remove(kit.dir .. "/access.lua")
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

	describe("a hook", function()
		it("refuses with the status and reason of the verdict", function()
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
			for _, line in ipairs(kit.lines) do
				if line.event == "a policy failed" and line.fields.hook == "access.derive" then
					logged = logged + 1
					-- What error() says can hold the name of a key: the log has a hash of it.
					assert.equal("access.lua:1: hash of 4 bytes", line.fields.cause)
				end
			end
			assert.equal(1, logged)
			assert.is_true(p:status().failures >= 8)
		end)

		it("that runs too long rests only for the application that caused it", function()
			write("access", "return { derive = function(r) if r.path == 'slow' then while true do end end end }")
			write("sync", "return { accept = function(r) if r.key == 'slow' then while true do end end return false end }")
			local p = assert(open())
			local function derive(app_id, path) return p:derive({ app_id = app_id, path = path }) end
			assert.is_true(derive("7", "p"))
			assert.is_true(derive("7", "slow").failed)
			assert.same({ status = 403, code = "ERR_POLICY", rule = "access.derive", failed = true }, derive("7", "p"))
			assert.is_true(derive("8", "p"))
			kit.now_ms = kit.now_ms + 1
			assert.is_true(derive("7", "p").failed)
			kit.now_ms = kit.now_ms + 60000
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

		it("rests after a failure that spent 25000 units of work, and not after less", function()
			write("access", "return { derive = function(r) local n = tonumber(r.path) if not n then return end "
				.. "for i = 1, n do end error('x') end }")
			local p = assert(open())
			assert.is_true(p:derive({ app_id = "7", path = "24000" }).failed)
			assert.is_true(p:derive({ app_id = "7", path = "p" }))
			assert.is_true(p:derive({ app_id = "7", path = "26000" }).failed)
			assert.is_true(p:derive({ app_id = "7", path = "p" }).failed)
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
			kit.now_ms = kit.now_ms + 1000
			assert.equal("1001000 1 0", p:derive(FACTS).reason)
			assert.equal(3, p.counters:list()[1].value)
			assert.equal("policy_derives", p.counters:list()[1].name)
			assert.same({ hook = "access.derive", message = "seen", policy_path = "p" }, kit.lines[#kit.lines].fields)
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

		it("that fills its memory is restarted", function()
			write("access", "local kept = {}\nreturn { derive = function(r) if r.path == 'p' then for i = 1, 2000 do "
				.. "kept[#kept + 1] = { i } end end end }")
			local p = assert(open())
			local refused
			for _ = 1, 200 do
				refused = refused or p:derive(FACTS) ~= true
				kit.now_ms = kit.now_ms + 100
			end
			assert.is_true(refused)
			-- Longer than any rest, which a slow machine makes long.
			kit.now_ms = kit.now_ms + 3600000
			p:derive(FACTS)
			kit.now_ms = kit.now_ms + 3600000
			assert.is_true(p:derive(FACTS))
		end)
	end)
end)
