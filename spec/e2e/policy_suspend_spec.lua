-- `nova-kms policy show --socket`, `suspend` and `resume`: rules of a running node that are suspended for a time.

local apps = require("spec.support.app")
local attest = require("kms.attest")
local backend = require("spec.support.backend")
local audit_file = require("spec.support.audit_file")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")
local runbooks = require("spec.support.runbook")
local sessions = require("spec.support.session_client")
local uv = require("luv")
local wait = require("spec.support.wait")

local RULES = [[
return {
	derive = {
		{ name = "no-admin", description = "keys of administrators", decide = function(r)
			if kms.match("admin/*", r.path) then return false, "not for applications" end
		end },
		{ name = "broken", decide = function(r) if r.path == "admin/broken" then error("broken") end end },
	},
}
]]
local RULE = "access.derive/no-admin"

describe("nova-kms policy suspend", function()
	local dir, folder, env, node, app, audit, metrics

	setup(function()
		folder = policies.new()
		folder:write("access", RULES)
		audit, metrics = folder.dir .. "/audit.log", nodes.free_port()
		dir = files.temp_dir()
		env = { POLICY_DIR = folder.dir, AUDIT = audit, METRICS_ADDR = "127.0.0.1:" .. metrics }
		node = nodes.start({ dir = dir, env = env })
		app = apps.new(node, "700", "policy app")
		node:register({ app })
	end)

	teardown(function()
		node:stop()
		folder:remove()
		files.remove_dir(dir)
	end)

	local function cli(...)
		local words = { "policy", ... }
		table.move({ "--socket", node.dir .. "/control.sock" }, 1, 2, #words + 1, words)
		return nodes.run(words, { env = {} })
	end

	local function page() return cjson.decode((select(2, cli("show", "--json")))) end

	local function rule(name)
		for _, entry in ipairs(page().rules) do
			if entry.name == name then return entry end
		end
	end

	local function ok(...)
		local code, out, err = cli(...)
		assert.same({ 0, "" }, { code, err })
		return out
	end

	local function refused(exit_code, text, ...)
		local code, out, err = cli(...)
		assert.same({ exit_code, "" }, { code, out }, err)
		assert.truthy(err:find(text, 1, true), err)
	end

	local function none_suspended()
		for _, one in ipairs(page().suspended) do ok("resume", one.rule) end
	end
	before_each(none_suspended)

	-- The hash of policies in the node's attestation document.
	local function attested()
		local nonce = ("ab"):rep(16)
		local facts = assert(native.attest_verify(http.get(node.port, "/attestation?nonce=" .. nonce).body, {
			roots = { native.sha256(files.read(node.dir .. "/attest-root.der")) }, now_ms = native.wall_ms(),
			max_age_ms = 60000, max_ahead_ms = 1000, allow_debug = true, nonce = crypto.unhex(nonce), public_key = node.der,
			user_data = attest.user_data(node.wallet, "public", node:status().policy.hash),
		}))
		return attest.read_user_data(facts.user_data).policy
	end

	it("lets through what the rule refuses, shows it everywhere, and ends with resume", function()
		expect.refused(app:derive({ path = "admin/x" }), 403, "forbidden")
		local before = node:status().policy
		assert.same({ before.hash, 0 }, { before.set_hash, #before.suspended })
		assert.truthy(http.get(node.port, "/status").body:find('"suspended":[]', 1, true)) -- a list, also where it is empty
		assert.matches("^suspended until %d+%-%d+%-%d+T%d+:%d+:%d+Z: access.derive/no%-admin\n$",
			ok("suspend", RULE, "--for", "10m", "--why", "ticket 12: who's \"there\"? äöü"))
		expect.ok(app:derive({ path = "admin/x" }))
		expect.ok(app:derive({ path = "other" }))
		local status = node:status().policy
		assert.equal(crypto.hex(crypto.sha256("NovaKMS:Suspended:" .. before.hash .. ":" .. RULE)), status.hash)
		assert.equal(before.hash, status.set_hash)
		assert.same({ RULE }, { status.suspended[1].rule, status.suspended[2] })
		assert.is_true(status.suspended[1].left_s > 0 and status.suspended[1].left_s <= 600)
		assert.is_nil(status.suspended[1].why)
		local shown = rule(RULE)
		assert.same({ 1, "keys of administrators", "ticket 12: who's \"there\"? äöü", uv.getuid() },
			{ shown.let_through, shown.description, shown.suspended.why, shown.suspended.uid })
		assert.is_true(shown.refused >= 1 and shown.last_hit_ms >= 0)
		local text = ok("show")
		assert.truthy(text:find("\n" .. RULE .. " ", 1, true), text)
		assert.is_nil(text:find("routes.1", 1, true), text)
		assert.truthy(text:find("files      " .. before.hash .. ": rules are suspended", 1, true), text)
		assert.truthy(text:find("ticket 12: who's \\\"there\\\"? äöü", 1, true), text)
		local top = select(2, nodes.run({ "top", "--count", "1", "--socket", node.dir .. "/control.sock" }, { env = {} }))
		assert.truthy(top:find("SUSPENDED, 10 min left: " .. RULE, 1, true) or top:find("SUSPENDED, 9 min left: " .. RULE, 1,
			true), top)
		local said
		local function wait_suspended(count) -- a scrape may be as old as the one before
			wait.until_true("the metric", function()
				said = assert(http.get(metrics, "/metrics")).body
				return said:find(("\nkms_policy_rules_suspended %d\n"):format(count), 1, true)
			end)
		end
		wait_suspended(1)
		assert.truthy(said:find(('\nkms_policy_rule_calls_total{rule="%s",outcome="let_through"} 1\n'):format(RULE), 1, true))
		node:wait_log('"suspended_rule":"' .. RULE .. '"')
		assert.equal("in force again: " .. RULE .. "\n", ok("resume", RULE))
		assert.equal("was not suspended: " .. RULE .. "\n", ok("resume", RULE))
		expect.refused(app:derive({ path = "admin/x" }), 403, "forbidden")
		assert.equal(before.hash, node:status().policy.hash)
		wait_suspended(0)
	end)

	it("ends by itself, with a line in the log", function()
		-- Where the command takes longer to end than the suspension: again, for twice as long.
		local seconds = 1
		wait.until_true("a request in time", function()
			seconds = 2 * seconds
			ok("suspend", RULE, "--for", seconds .. "s")
			return app:derive({ path = "admin/x" }).status == 200
		end)
		wait.until_true("the end", function() return app:derive({ path = "admin/x" }).status == 403 end)
		node:wait_log("policy rule no longer suspended")
		local line = cjson.decode(node:log():match('[^\n]*"policy rule no longer suspended"[^\n]*"time"[^\n]*'))
		assert.same({ "warn", RULE }, { line.level, line.rule })
		local ended = page().ended
		assert.same({ RULE, "time" }, { ended[#ended].rule, ended[#ended].cause })
	end)

	it("ends by itself where nobody asks", function()
		local function ends() return select(2, node:log():gsub('"cause":"time"', "")) end
		local before = ends()
		ok("suspend", RULE, "--for", "1")
		wait.until_true("the end", function() return ends() > before end)
	end)

	it("does not make a rule that fails let anything through", function()
		ok("suspend", "access.derive/broken", "--for", "10m")
		ok("suspend", "access.derive", "--for", "10m")
		expect.ok(app:derive({ path = "admin/x" }))
		expect.refused(app:derive({ path = "admin/broken" }), 403, "forbidden")
	end)

	it("does not make anybody known, or let an application have another one's records", function()
		ok("suspend", "access.derive", "--for", "10m")
		local stranger, other = apps.new(node, "800", "stranger"), apps.new(node, "701", "other app")
		expect.refused(stranger:derive({ path = "p" }), 403, "unauthorized")
		node:register({ other })
		local mine, theirs = app:derive({ path = "admin/x" }), other:derive({ path = "admin/x" })
		expect.ok(mine)
		expect.ok(theirs)
		assert.is_true(mine.inner.key ~= theirs.inner.key)
		assert.equal(403, http.request(node.port, { method = "POST", target = "/kms/derive", body = "{}" }).status)
	end)

	it("holds for operations in sessions, too, and ends for a session that is open", function()
		local session = sessions.open(app)
		local ask = { op = "derive", path = "admin/in a session" }
		assert.equal(403, session:call(ask).status)
		ok("suspend", RULE, "--for", "10m")
		assert.equal(200, session:call(ask).status)
		node:wait_log('"suspended_rule":"' .. RULE .. '"')
		ok("resume", RULE)
		assert.equal(403, session:call(ask).status)
	end)

	it("is noted for those operations of a message that it let through, and for no other", function()
		ok("suspend", RULE, "--for", "10m")
		local session = sessions.open(app)
		local answers = session:call({
			{ op = "derive", path = "a" }, { op = "derive", path = "admin/x" }, { op = "derive", path = "admin/broken" },
			{ op = "derive", path = "b" },
		})
		local statuses, noted = {}, {}
		for i, answer in ipairs(answers) do statuses[i] = answer.status end
		assert.same({ 200, 200, 403, 200 }, statuses)
		wait.until_true("the last line", function()
			noted = {}
			local lines = audit_file.events(audit, "derive")
			for i = #lines, math.max(1, #lines - 2), -1 do table.insert(noted, 1, lines[i].suspended_rule or "-") end
			return noted[3] == "-" and lines[#lines].request == lines[#lines - 2].request
		end)
		assert.same({ "-", RULE, "-" }, noted)
		local opened = audit_file.events(audit, "session")
		assert.is_nil(opened[#opened].suspended_rule)
	end)

	it("stays over a reload of other files, and ends with one of its own", function()
		ok("suspend", RULE, "--for", "10m")
		folder:take(node, "sync", "return { parallel = 3 }")
		expect.ok(app:derive({ path = "admin/x" }))
		folder:write("access", "return {")
		assert.truthy(folder:reload(node).last_error)
		expect.ok(app:derive({ path = "admin/x" }))
		folder:take(node, "access", RULES .. "-- changed\n")
		expect.refused(app:derive({ path = "admin/x" }), 403, "forbidden")
		assert.same({}, node:status().policy.suspended)
		local now = page()
		assert.equal("reload", now.ended[#now.ended].cause)
		-- The node looks at its files by itself, too, before the command or after it.
		local loads = {}
		for _, load in ipairs(now.history) do
			local last = loads[#loads]
			local again = load.outcome == "unchanged" or load.outcome == "refused" and last.outcome == "refused"
			if not again then loads[#loads + 1] = load end
		end
		local outcomes = {}
		for i, load in ipairs(loads) do outcomes[i] = load.outcome end
		assert.same({ "in_force", "in_force", "refused", "in_force" }, outcomes)
		assert.truthy(loads[3].error:find("access.lua:", 1, true))
		assert.equal(now.set_hash, loads[4].hash)
		local text = ok("show")
		assert.matches(("\n%%S+Z  %-7s  in force  1      "):format(loads[4].by) .. now.set_hash, text)
	end)

	it("says what is allowed where a rule, a time or a text is not", function()
		for _, time in ipairs({ "0", "0s", "86401", "24h1", "25h", "1500ms", "-5", "soon", "", "99999999999999999999h" }) do
			refused(2, ("--for: '%s' is not a time from 1s to 24h (units: ms, s, m, h, d)"):format(time), "suspend", RULE,
				"--for=" .. time)
		end
		refused(2, "--for is missing", "suspend", RULE)
		refused(2, "show takes DIR or --socket, not both", "show", folder.dir)
		refused(1, "no such rule, the nearest is access.derive/no-admin; those that can be suspended: access.derive, ",
			"suspend", "access.derive/no-admim", "--for", "1h")
		refused(1, "there is no such rule", "resume", "nothing")
		refused(1, "sync.backoff cannot be suspended", "suspend", "sync.backoff", "--for", "1h")
		refused(2, "RULE: allowed is", "suspend", "access.derive/no-admin?for=9", "--for=1h")
		for _, why in ipairs({ "", ("x"):rep(201), "a\nb", "a\27[2Jb", "\255", "a\u{202e}b", "a\u{2028}b", "a\127b",
			"\u{85}" }) do
			refused(2, "--why: allowed are 1 to 200 bytes", "suspend", RULE, "--for", "1h", "--why=" .. why)
		end
		assert.same({}, page().suspended)
		ok("suspend", RULE, "--for", "24h", "--why", ("x"):rep(200))
		assert.is_true(page().suspended[1].left_s > 86000)
	end)

	it("is checked by the node, too: the command line is not all that can ask", function()
		local function put(target)
			return http.request(node.dir .. "/control.sock", { method = "PUT", target = target })
		end
		for target, text in pairs({
			["/policy/suspended/" .. RULE] = "for must be a number of seconds",
			["/policy/suspended/" .. RULE .. "?for=0"] = "1 to 86400 seconds",
			["/policy/suspended/" .. RULE .. "?for=86401"] = "1 to 86400 seconds",
			["/policy/suspended/" .. RULE .. "?for=9999999999"] = "for must be a number of seconds",
			["/policy/suspended/" .. RULE .. "?for=1e3"] = "for must be a number of seconds",
			["/policy/suspended/" .. RULE .. "?for=60&for=61"] = "the query must be",
			["/policy/suspended/" .. RULE .. "?for=60&reason=a"] = "the query must be",
			["/policy/suspended/" .. RULE .. "?for=60&why=a&why=b"] = "the query must be",
			["/policy/suspended/" .. RULE .. "?for=60&why=a%0Ab"] = "why: allowed are 1 to 200 bytes",
			["/policy/suspended/" .. RULE .. "?for=60&why=%00"] = "why: allowed are 1 to 200 bytes",
			["/policy/suspended/" .. RULE .. "?for=60&why="] = "why: allowed are 1 to 200 bytes",
			["/policy/suspended/" .. RULE .. "?for=60&why=" .. ("x"):rep(201)] = "why: allowed are 1 to 200 bytes",
			["/policy/suspended/access.derive%2Fno-admin?for=60"] = "there is no such rule",
		}) do
			local response = put(target)
			assert.equal(400, response.status, target)
			assert.truthy(response.body:find(text, 1, true), response.body)
		end
		assert.equal("there are no parameters",
			node:control("DELETE", "/policy/suspended/" .. RULE .. "?for=60").message)
		for _, port in ipairs({ node.port, metrics }) do
			assert.equal(404, http.request(port, { method = "PUT", target = "/policy/suspended/" .. RULE .. "?for=9" }).status)
		end
		assert.same({}, page().suspended)
	end)

	it("stands in the audit log: who, why and what it let through, in lines that are whole and signed", function()
		wait.until_true("the lines before", function() return #audit_file.events(audit, "rule_resumed") == #page().ended end)
		local earlier = #audit_file.events(audit, "rule_resumed")
		ok("suspend", RULE, "--for", "10m", "--why", 'a "quoted" reason')
		expect.ok(app:derive({ path = "admin/audited" }))
		ok("suspend", RULE, "--for", "20m")
		ok("resume", RULE)
		local hash = node:status().policy.hash
		wait.until_true("the lines", function() return #audit_file.events(audit, "rule_resumed") == earlier + 2 end)
		local begun, ended = audit_file.events(audit, "rule_suspended"), audit_file.events(audit, "rule_resumed")
		local first = begun[#begun - 1]
		assert.same({ RULE, 600, 'a "quoted" reason', uv.getuid() }, { first.rule, first.seconds, first.why, first.uid })
		assert.is_true(first.after ~= hash and #first.after == 64)
		assert.same({ "renewed", "resume", hash }, { ended[#ended - 1].cause, ended[#ended].cause, ended[#ended].after })
		local keys = audit_file.events(audit, "derive")
		assert.equal(RULE, keys[#keys].suspended_rule)
		local commands
		wait.until_true("the line of the command", function()
			commands = audit_file.events(audit, "command")
			return commands[#commands].command == "resume rule"
		end)
		assert.equal(RULE, commands[#commands].argument)
	end)

	it("may have the longest name there is, or one that is no step in a path; the line of its command has it", function()
		local long = ("n"):rep(64)
		folder:take(node, "blacklist", ([[
local rules = {}
for i = 1, 256 do
	rules[i] = { name = i == 256 and "%s" or "r" .. i, event = "invalid_url", count = 3, within = 60, scope = "calls" }
end
return { rules = rules }]]):format(long))
		folder:take(node, "access", [[
return { derive = { { name = "..", decide = function(r) if r.path == "dots" then return false end end } } }]])
		expect.refused(app:derive({ path = "dots" }), 403, "forbidden")
		for _, name in ipairs({ "blacklist.rules.256/" .. long, "access.derive/.." }) do
			ok("suspend", name, "--for", "10m")
			wait.until_true("the line of the command", function()
				local commands = audit_file.events(audit, "command")
				return commands[#commands].argument == name
			end)
		end
		expect.ok(app:derive({ path = "dots" }))
		none_suspended()
		folder:write("blacklist", nil)
		folder:take(node, "access", RULES)
	end)

	it("is done by the commands of docs/policies.md, with the policies that it copies", function()
		folder:take(node, "access", files.read("examples/policy/quotas/access.lua"))
		local scratch = files.temp_dir()
		finally(function() files.remove_dir(scratch) end)
		local book = runbooks.read("docs/policies.md", scratch, "spec/e2e/policy_suspend_spec.lua")
		book.words = { ["build/nova-kms"] = nodes.program, ["build/node/"] = node.dir .. "/" }
		book:paste("Suspend a rule")
		assert.same({}, book:unused())
		local ended = page().ended
		assert.same({ "access.request", "resume", "ticket 4711" },
			{ ended[#ended].rule, ended[#ended].cause, ended[#ended].why })
		folder:take(node, "access", RULES)
	end)

	backend.only("files", it)("does not outlive the node", function()
		ok("suspend", RULE, "--for", "10m")
		expect.ok(app:derive({ path = "admin/x" }))
		local hash = page().set_hash
		node:stop()
		local ended = audit_file.events(audit, "rule_resumed")
		local last = ended[#ended]
		assert.same({ RULE, "stop", hash }, { last.rule, last.cause, last.after })
		assert.equal(last.seq + 1, audit_file.events(audit, "stop")[1].seq)
		local code, out, err = nodes.run({ "audit", "verify", audit, "--max-unsigned", "0" }, { env = {} })
		assert.equal(0, code, out .. err)
		code, out = nodes.run({ "audit", "find", "--event", "rule_resumed", audit }, { env = {} })
		assert.equal(0, code)
		assert.truthy(out:find("  rule_resumed  rule=" .. RULE .. "  after=" .. hash .. "  cause=stop\n", 1, true), out)
		node = nodes.start({ dir = dir, env = env })
		app = apps.new(node, "700", "policy app")
		assert.same({}, page().suspended)
		assert.same({}, page().ended)
		expect.refused(app:derive({ path = "admin/x" }), 403, "forbidden")
	end)

	backend.only("signed documents", it)("changes the hash that the node attests, and gives it back", function()
		local before = attested()
		ok("suspend", RULE, "--for", "10m")
		assert.equal(crypto.hex(crypto.sha256("NovaKMS:Suspended:" .. before .. ":" .. RULE)), attested())
		ok("resume", RULE)
		assert.equal(before, attested())
	end)
end)
