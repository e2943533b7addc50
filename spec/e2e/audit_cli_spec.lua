-- `nova-kms audit`: what an operator and an auditor do with the log of a node.

local apps = require("spec.support.app")
local audit_file = require("spec.support.audit_file")
local audit_log = require("spec.support.audit_log")
local backend = require("spec.support.backend")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

describe("nova-kms audit", function()
	local dir, file, node, app

	local function run(...) return nodes.run({ "audit", ... }, { env = { AUDIT = file } }) end
	local function socket() return node.dir .. "/control.sock" end

	setup(function()
		dir = files.temp_dir()
		file = dir .. "/audit.log"
		node = nodes.start({ env = { AUDIT = file, AUDIT_RECORDS = "true" } })
		app = apps.new(node, "700", "audit cli")
		node:register({ app })
		expect.ok(app:derive({ path = "wallet/root" }))
		expect.ok(app:derive({ path = "wallet/root", context = "ctx" }))
		expect.ok(app:derive({ path = "other" }))
		expect.ok(app:put("some key", "value"))
		wait.until_true("lines", function() return #audit_file.events(file, "put") == 1 end)
	end)
	teardown(function()
		node:stop()
		files.remove_dir(dir)
	end)

	-- The lines that find prints as JSON.
	local function find(...)
		local code, out, err = run("find", "--json", "--socket", socket(), ...)
		assert.equal(0, code, err)
		local list = {}
		for line in out:gmatch("[^\n]+") do list[#list + 1] = cjson.decode(line) end
		return list
	end

	it("finds who asked for a key, and notes that somebody looked", function()
		local found = find("--app", "700", "--path", "wallet/root")
		assert.same({ 2, "derive", app.identity.wallet }, { #found, found[1].event, found[1].wallet })
		found = find("--app", "700", "--path", "wallet/root", "--context", "ctx")
		assert.equal(1, #found)
		assert.truthy(found[1].context)
		assert.equal(1, #find("--app", "700", "--key", "some key"))
		assert.equal(0, #find("--app", "701", "--path", "wallet/root"))
		assert.equal(0, #find("--app", "700", "--path", "wallet/Root"))
		local lookups
		wait.until_true("the look-ups", function()
			lookups = audit_file.events(file, "lookup")
			return #lookups == 6
		end)
		assert.same({ "path", "700", found[1].name }, { lookups[1].kind, lookups[1].app, lookups[1].name })
		for _, text in ipairs({ files.read(file), node:log() }) do
			for _, name in ipairs({ "wallet/root", "some key" }) do assert.is_nil(text:find(name, 1, true)) end
		end
	end)

	it("finds by application, wallet, event and time, without a node", function()
		assert.equal(3, #find("--app", "700", "--event", "derive"))
		assert.equal(3, #find("--wallet", app.identity.wallet:upper():gsub("^0X", "0x"), "--event", "derive"))
		assert.equal(0, #find("--wallet", "0x" .. ("12"):rep(20)))
		local today = os.date("!%Y-%m-%d")
		assert.is_true(#find("--since", "2026-01-01", "--event", "derive") == 3)
		assert.equal(0, #find("--since", "2199-12-31"))
		assert.equal(0, #find("--until", "2020-02-29T23:59:59Z"))
		assert.is_true(#find("--until", today .. "T23:59", "--event", "put") <= 1)
	end)

	it("shows a log for people", function()
		local code, out = run("show", file)
		assert.equal(0, code)
		assert.truthy(out:match("%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ  %d+  derive  app=700  wallet=0x%x+  name=%x+"))
		assert.truthy(out:find("  start  ", 1, true))
		assert.is_nil(out:find("prev", 1, true))
		-- Without files: the configuration's. A signature may be added in between, another derivation is not.
		assert.equal(select(2, run("show", file, "--event", "derive")), (select(2, run("show", "--event", "derive"))))
	end)

	it("verifies what the node writes, with the node or without", function()
		wait.until_true("a signature", function() return #audit_file.events(file, "signature") > 0 end)
		local code, out, err = run("verify", file, "--wallet", node.wallet)
		assert.same({ 0, "" }, { code, err })
		assert.truthy(out:find("%d+ signatures?, by " .. node.wallet), out)
		assert.truthy(out:find("the chain is whole, and every signature good", 1, true))
		code, out = run("verify", file, "--json")
		assert.equal(0, code)
		assert.is_true(cjson.decode(out).ok)
		code, out, err = run("verify", file, "--wallet", "0x" .. ("12"):rep(20))
		assert.equal("", out)
		assert.equal(5, code)
		assert.truthy(err:find("is signed by " .. node.wallet, 1, true), err)
	end)

	it("shows the end of the log in the node's status, to compare it with the file's", function()
		local code, out = nodes.run({ "status", "--socket", socket() }, { env = {} })
		assert.equal(0, code)
		assert.truthy(out:find("\naudit      ok, 0 lines lost, ", 1, true), out)
		local number, hash = out:match("\nlast line  number (%d+), hash (%x+)\n")
		for _, line in ipairs(audit_file.lines(file)) do
			if line.seq == tonumber(number) then assert.equal(hash, audit_file.hash(line)) hash = nil end
		end
		assert.is_nil(hash)
	end)

	backend.only("signed documents", it)("takes the node's wallet from its attestation document", function()
		local allowed, zeros = dir .. "/allowed.lua", ("0"):rep(96)
		files.write(allowed, ([[return { roots = { "%s" }, images = { { name = "none", pcrs = {
			[0] = "%s", [1] = "%s", [2] = "%s" } } }, allow_debug = true }]]):format(
			crypto.hex(crypto.sha256(files.read(node.dir .. "/attest-root.der"))), zeros, zeros, zeros))
		local function verify(...)
			local code, out, err = run("verify", file, "--url", "http://127.0.0.1:" .. node.port, "--pcr", allowed, ...)
			return code, out .. err
		end
		local code, text = verify("--allow-simulated")
		assert.equal(0, code, text)
		assert.is_nil(text:find("is not checked", 1, true))
		code, text = verify()
		assert.equal(5, code, text)
	end)

	it("names what is wrong with a file", function()
		local lines = audit_log.new():start(("1"):rep(16)):event("derive"):sign():event("derive")
		local path = dir .. "/other.log"
		local function verify(text, ...)
			files.write(path, text)
			local code, _, err = run("verify", path, ...)
			return code, err
		end
		assert.equal(0, (verify(lines:text())))
		local code, err = verify(lines:text(), "--max-unsigned", "0")
		assert.equal(5, code)
		assert.truthy(err:find("no signature covers 1 line:", 1, true), err)
		files.write(path, lines:text())
		assert.truthy(select(2, run("verify", path)):find("but nothing proves the 1 line that none covers", 1, true))
		code, err = verify((lines:text():gsub('"derive"', '"Derive"', 1)))
		assert.equal(5, code)
		assert.truthy(err:find(path .. ": line 3: ", 1, true), err)
		code, err = verify("")
		assert.equal(5, code)
		assert.truthy(err:find("there is no line in it", 1, true), err)
		code, err = verify(("x"):rep(100000))
		assert.equal(5, code)
		assert.truthy(err:find("longer than the 4096 bytes", 1, true), err)
		assert.equal(2, (run("verify", dir .. "/missing")))
		assert.equal(2, (run("verify", dir)))
		assert.equal(2, (run("verify")))
		assert.equal(2, (run("verify", path, "--wallet", "me")))
		assert.equal(2, (run("verify", path, "--url", "http://127.0.0.1:1")))
		assert.equal(2, (run("find", path, "--path", "x")))
		assert.equal(2, (run("find", path, "--path", "x", "--app", "0")))
		assert.equal(2, (run("find", path, "--since", "2026-02-30")))
		assert.equal(2, (run("find", path, "--until", "yesterday")))
		assert.equal(2, (run("find", path, "--since", "2026-01-01T24:00")))
		assert.equal(5, (run("show", path)))
	end)

	it("does not let a hostile file write to the terminal", function()
		local path = dir .. "/hostile.log"
		files.write(path, audit_log.new():start(("1"):rep(16)):event("derive", {
			{ "wallet", "\27[2J" }, { "\27]0;x", "\155" }, { "name", { "a table" } },
		}):text())
		local code, out = run("show", path)
		assert.equal(0, code)
		assert.is_nil(out:find("[%c\127]", 1, false) and out:gsub("\n", ""):find("[%c\127]"))
	end)

	it("limits look-ups", function()
		local target = "/audit/name/path/700/" .. ("ab"):rep(32)
		wait.until_true("a refusal", function() -- after more than the limit where this is slow, since they flow back in
			return node:control("GET", target).code == "rate_limited"
		end)
		for _, wrong in ipairs({ "path/700/ab", "paths/700/" .. ("ab"):rep(32), "path/0/" .. ("ab"):rep(32), "path/700",
			"path/99999999999999999999/" .. ("ab"):rep(32) }) do
			assert.equal("bad_request", node:control("GET", "/audit/name/" .. wrong).code)
		end
	end)
end)
