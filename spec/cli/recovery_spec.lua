-- `nova-kms recovery`: help, mistakes of the command line, and a share that never is one. Against nodes:
-- spec/cluster/custodians_spec.lua.

local custodians = require("spec.support.custodians")
local files = require("spec.support.files")
local nodes = require("spec.support.node")

describe("nova-kms recovery", function()
	local dir, alice

	setup(function()
		dir = files.temp_dir()
		alice = custodians.make(dir, { "alice" })[1]
		files.write(dir .. "/no-share.age", custodians.seal(dir, { alice.key }, "a letter"))
	end)
	teardown(function() files.remove_dir(dir) end)

	local function run(...)
		local code, out, err = nodes.run({ "recovery", ... })
		return code, out .. err
	end

	it("explains each command to somebody who needs it once in years", function()
		for command, words in pairs({
			give = { "age", "--rpc", "Before anything is sent", "key.txt" }, check = { "rehearse", "Every quarter" },
			shares = { "--out FOLDER", "anybody may see them" }, show = { "last rehearsed" },
		}) do
			local code, text = run(command, "--help")
			assert.equal(0, code)
			for _, word in ipairs(words) do assert.truthy(text:find(word, 1, true), word) end
			for line in text:gmatch("[^\n]+") do assert.is_true(#line <= 160, line) end
		end
	end)

	it("says what is missing", function()
		for _, case in ipairs({
			{ "--identity is missing", "give" }, { "--share is missing", "give", "-i", alice.path },
			{ "--rpc is missing", "give", "-i", alice.path, "--share", "x", "--url", "http://127.0.0.1:1" },
			{ "--url is missing", "show" }, { "--out and --pcr are needed", "shares", "--url", "http://127.0.0.1:1" },
			{ "--pcr is needed", "check", "--url", "http://127.0.0.1:1" },
			{ "both --identity and --share", "check", "--url", "http://127.0.0.1:1", "--pcr", "x", "-i", alice.path },
		}) do
			local code, text = run(table.unpack(case, 2))
			assert.equal(2, code, text)
			assert.truthy(text:find(case[1], 1, true), text)
		end
	end)

	local function give(share)
		return run("give", "-i", alice.path, "--share", share, "--url", "http://127.0.0.1:1", "--rpc", "http://127.0.0.1:1",
			"--pcr", dir .. "/absent.lua")
	end

	it("asks nobody anything about what is no share, or cannot be opened", function()
		local code, text = give(dir .. "/no-share.age")
		assert.equal(1, code, text)
		assert.truthy(text:find("not a share of a master secret", 1, true), text)
		code, text = give(dir .. "/absent.age")
		assert.equal(2, code, text)
		assert.truthy(text:find("age could not decrypt it", 1, true), text)
	end)

	it("says which program is missing", function()
		local code, out, err = nodes.run({ "PATH=/nonexistent", nodes.program, "recovery", "give", "-i", alice.path,
			"--share", dir .. "/no-share.age", "--url", "http://127.0.0.1:1", "--rpc", "http://127.0.0.1:1", "--pcr", "x",
		}, { program = "/usr/bin/env" })
		assert.equal(2, code, out .. err)
		assert.truthy(err:find("cannot run 'age'", 1, true), err)
	end)
end)
