--- `nova-kms policy check|test|show|explain`, as an operator runs them.

local cjson = require("cjson")
local files = require("spec.support.files")

local PROGRAM = (os.getenv("KMS_BUILD") or "build") .. "/nova-kms"

local function run(words)
	-- Not the sanitizer's runtime that the specs themselves may run under: the program has its own.
	local pipe = assert(io.popen("unset POLICY_DIR LD_PRELOAD; " .. PROGRAM .. " policy " .. words .. " 2>&1"))
	local output = pipe:read("a")
	local _, _, status = pipe:close()
	return status, output
end

describe("nova-kms policy", function()
	local dir

	local function write(name, text) files.write(dir .. "/" .. name, text) end

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	it("check takes the shipped policies, an empty folder, and each example", function()
		local status, output = run("check")
		assert.equal(0, status, output)
		assert.matches("^policies are valid: %x+\n$", output)
		assert.same({ 0, output }, { run("check " .. dir) })
		for _, name in ipairs({ "derive-paths", "quotas", "maintenance", "pcr-list", "nearest-first", "growing-bans",
			"about-route" }) do
			assert.equal(0, (run("check examples/policy/" .. name)), name)
		end
	end)

	it("check reports ten mistakes with file and line", function()
		write("access.lua", "return {\n\tderive = 5,\n\trequst = function() end,\n\tdata = function(r) return r.kee end,\n}")
		write("sync.lua", "return {\n\tparallel = 1000,\n\tmax_records = 0,\n\tbackoff = 'x',\n}")
		write("blacklist.lua", "return {\n\trules = {\n\t\t{ event = 'x', count = 1, within = 1, scope = 'calls' },\n"
			.. "\t\t{ event = 'bad_hmac', count = 0, within = 1, scope = 'calls' },\n\t},\n\texempt = { 'me' },\n}")
		write("routes.lua", "return {\n\t{ method = 'GET', path = '/x' handler = 'ready' },\n}")
		local status, output = run("check " .. dir)
		assert.equal(4, status)
		local places = {}
		for place in output:gmatch("/(%a+%.lua:%d+): ") do places[#places + 1] = place end
		assert.same({ "access.lua:2", "access.lua:3", "access.lua:4", "blacklist.lua:3", "blacklist.lua:4",
			"blacklist.lua:6", "routes.lua:2", "sync.lua:2", "sync.lua:3", "sync.lua:4" }, places)
		assert.matches("\n10 mistakes\n$", output)
		status, output = run("check --json " .. dir)
		local page = cjson.decode(output)
		assert.same({ 4, false, 10 }, { status, page.valid, #page.mistakes })
	end)

	it("check takes POLICY_DIR, and refuses what is no folder", function()
		write("access.lua", "return {")
		local pipe = assert(io.popen("unset LD_PRELOAD; POLICY_DIR=" .. dir .. " " .. PROGRAM .. " policy check 2>&1"))
		assert.matches("/access.lua:1: ", pipe:read("a"))
		pipe:close()
		assert.same({ 4, dir .. "/none is not a folder\n1 mistake\n" }, { run("check " .. dir .. "/none") })
	end)

	it("show prints the hash, the files and where each value comes from", function()
		write("sync.lua", "return {\n\tparallel = 3,\n}")
		local status, output = run("show " .. dir)
		assert.equal(0, status, output)
		assert.matches("hash %x+\napi 1\n", output)
		assert.matches("sync%.parallel +3 +" .. dir:gsub("%p", "%%%0") .. "/sync.lua:2\n", output)
		assert.matches("sync%.max_records +5000 +%S+/config/policy/sync.lua:%d+\n", output)
		assert.matches("access +%S+/config/policy/access.lua %(shipped default%)\n", output)
		local page = cjson.decode(select(2, run("show --json " .. dir)))
		assert.is_true(page.files.access.shipped)
		assert.is_false(page.files.sync.shipped)
		assert.equal(64, #page.hash)
		assert.is_true(#page.rules > 10)
	end)

	it("explain names the rule that decides, with its file and line", function()
		local status, output = run("explain derive --app 1001 --path x --dir examples/policy/derive-paths")
		assert.equal(1, status, output)
		assert.matches("access%.derive/listed%-paths %(examples/policy/derive%-paths/access%.lua:22%) refuses at line 14\n",
			output)
		assert.matches("refused with 403: this application has no such path\n$", output)
		status, output = run("explain derive --app 7 --path x --dir examples/policy/derive-paths")
		assert.equal(0, status)
		assert.matches("allows at line 10\nallowed\n$", output)
		status, output = run("explain put --key k --size 5 --dir examples/policy/maintenance --json")
		local page = cjson.decode(output)
		assert.same({ 1, false, 503, 600, 5 },
			{ status, page.allowed, page.steps[2].status, page.steps[2].retry_after, page.steps[2].line })
		assert.same({ 2, "'sync' is not one of derive, get, list, put, delete, session\n" }, { run("explain sync") })
	end)

	it("explain and test know the opening of a session, which only the hook `request` is asked about", function()
		write("access.lua", "return {\nrequest = function(r)\nif r.route ~= 'session' then return true end\n"
			.. "return r.app_id == '7', 'no sessions'\nend,\ndata = function(r) return r.key ~= nil end,\n}")
		local status, output = run("explain session --app 8 --dir " .. dir)
		assert.matches("^access%.request %(.*access%.lua:2%) refuses at line 4\nrefused with 403: no sessions\n$", output)
		assert.equal(1, status)
		status, output = run("explain session --app 7 --json --dir " .. dir)
		assert.same({ 0, true, 1 }, { status, cjson.decode(output).allowed, #cjson.decode(output).steps })
		write("access_spec.lua", [[
			local p = require("kms.policy.testing").open()
			it("allows 7", function() assert.is_true(p:session({ app_id = "7" })) end)
			it("refuses 8", function() assert.equal("no sessions", p:session({ app_id = "8" }).reason) end)]])
		status, output = run("test " .. dir)
		assert.equal(0, status, output)
		assert.matches("2 successes / 0 failures", output)
	end)

	it("explain refuses facts that no request has, and knows the node's own limits", function()
		for words, want in pairs({
			["list --key k"] = "--key: list has none\n",
			["derive --size 5"] = "--size: derive has none\n", ["put --path p"] = "--path: put has none\n",
			["session --key k"] = "--key: session has none\n", ["session --path p"] = "--path: session has none\n",
		}) do assert.same({ 2, want }, { run("explain " .. words) }) end
		for words, want in pairs({
			["derive --app x"] = "--app: 'x' is not valid: ", ["derive --version 0"] = "--version: '0' is not valid: ",
			["derive --instance -1"] = "--instance: '-1' is not valid: ",
			["derive --wallet 0x12"] = "--wallet: '0x12' is not valid: ",
			["get --remote nowhere"] = "--remote: 'nowhere' is not valid: ",
		}) do
			local status, output = run("explain " .. words)
			assert.same({ 2, true }, { status, output:find(want, 1, true) ~= nil }, output)
		end
		assert.same({ 1, "the node itself refuses with 400: the value is larger than MAX_KV_VALUE_SIZE_BYTES=1048576\n" },
			{ run("explain put --key k --size 1048577") })
		assert.same({ 1, "the node itself refuses with 400: the key is longer than MAX_KEY_BYTES=4096\n" },
			{ run("explain put --key " .. ("k"):rep(4097)) })
		assert.same({ 1, "the node itself refuses with 400: the key is longer than 65536 bytes\n" },
			{ run("explain get --key " .. ("k"):rep(65537)) })
		assert.equal(0, (run("explain delete --key " .. ("k"):rep(65536))))
		assert.equal(0, (run("explain put --key k --size 1048576")))
	end)

	it("test runs the specs beside the policies", function()
		local status, output = run("test examples/policy/derive-paths")
		assert.equal(0, status, output)
		assert.matches("3 successes / 0 failures", output)
		write("access.lua", "return { derive = function(r) return r.path ~= 'x', 'no x' end }")
		write("access_spec.lua", [[
			local p = require("kms.policy.testing").open()
			it("refuses x", function() assert.equal("no x", p:derive({ path = "x" }).reason) end)
			it("is wrong", function() assert.is_true(p:derive({ path = "x" })) end)]])
		status, output = run("test " .. dir)
		assert.equal(1, status, output)
		assert.matches("1 success / 1 failure", output)
		os.remove(dir .. "/access_spec.lua")
		assert.same({ 2, dir .. ": has no *_spec.lua\n" }, { run("test " .. dir) })
	end)

	it("test lets a hook that raises an error fail the spec", function()
		write("access.lua", "return { derive = function(r) if r.path == 'x' then error('oops') end end }")
		write("access_spec.lua", [[
			local p = require("kms.policy.testing").open()
			it("asks", function() p:derive({ path = "x" }) end)]])
		local status, output = run("test " .. dir)
		assert.equal(1, status)
		assert.matches("access.lua:1: oops", output)
	end)
end)
