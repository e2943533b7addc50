-- `nova-kms recovery`: help, mistakes of the command line, and a share that never is one. Against nodes:
-- spec/cluster/custodians_spec.lua.

local age = require("kms.cli.recovery_age")
local custodians = require("spec.support.custodians")
local files = require("spec.support.files")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local snapshot_anchor = require("kms.cli.snapshot_anchor")
local uv = require("luv")
local verify = require("kms.cli.recovery_verify")

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

	it("does not hand to age what is too long for a challenge: a pipe might not take it", function()
		local key = age.key({ identity = alice.path, age_timeout = 60 })
		local _, message, code = age.challenge(native, key, ("x"):rep(4097), "0x" .. ("0"):rep(40), 1)
		assert.equal("ERR_UNVERIFIED", code)
		assert.truthy(message:find("too long", 1, true))
	end)

	-- A node that gives these responses in turn, the last one again and again. Returns its URL, and the number of
	-- requests that it had by field `count`.
	local function node(...)
		local responses, seen = { ... }, { count = 0 }
		local server = uv.new_tcp()
		finally(function() server:close() end)
		assert(server:bind("127.0.0.1", 0))
		assert(server:listen(16, function()
			local client = uv.new_tcp()
			server:accept(client)
			client:read_start(function(_, bytes)
				if not bytes then return client:close() end
				seen.count = seen.count + 1
				local response = responses[math.min(seen.count, #responses)]
				client:write(("HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s"):format(
					response.status or "200 OK", response.more or "", #response.body, response.body))
			end)
		end))
		return "http://127.0.0.1:" .. server:getsockname().port, seen
	end

	local PAGE = '{"set":"s","threshold":2,"custodians":[],"waiting":{"have":1,"need":2,"given":[{},"b\\u001b[2J"]}}'
	local LIMITED = '{"code":"rate_limited","message":"too many"}'

	it("shows what a node that is no honest one says of its shares", function()
		local code, text = run("show", "--url", (node({ body = PAGE })))
		assert.equal(0, code, text)
		assert.truthy(text:find("waiting    has 1 of 2 shares: table: 0x%x+, b"), text)
		assert.is_nil(text:find("\27", 1, true))
	end)

	it("shows shares that nobody gave yet, and says what a node without custodians is", function()
		local code, text = run("show", "--url", (node({ body = (PAGE:gsub('"have":1', '"have":0'):gsub("%[{}.-%]", "[]")) })))
		assert.equal(0, code, text)
		assert.truthy(text:find("waiting    has 0 of 2 shares\n", 1, true), text)
		code, text = run("show", "--url", (node({ status = "404 Not Found", body = '{"message":"not found"}' })))
		assert.equal(1, code, text)
		assert.truthy(text:find("the node refused: not found: a node without RECOVERY has no custodians", 1, true), text)
	end)

	it("waits and asks again where the node limits its address, as other custodians may share it", function()
		local limited = { status = "429 Too Many Requests", more = "Retry-After: 1\r\n", body = LIMITED }
		local busy = { status = "503 Service Unavailable", more = "Retry-After: 0\r\n", body = "busy" }
		local url, seen = node(limited, busy, { body = PAGE })
		local code, text = run("show", "--url", url)
		assert.equal(0, code, text)
		assert.truthy(text:find("the node is busy (HTTP 429): asking again in 1 s", 1, true), text)
		assert.truthy(text:find("the node is busy (HTTP 503): asking again in 2 s", 1, true), text)
		assert.equal(3, seen.count)
		-- The document that `give` and the others ask for first has that limit, too.
		local pcr = ("%q"):format(("0"):rep(96))
		files.write(dir .. "/allowed.lua", ("return { images = { { name = 'x', pcrs = { [0] = %s, %s, %s } } } }"):format(
			pcr, pcr, pcr))
		url, seen = node(limited, { status = "404 Not Found", body = "{}" })
		code, text = run("shares", "--url", url, "--pcr", dir .. "/allowed.lua", "--out", dir .. "/out")
		assert.equal(5, code, text)
		assert.truthy(text:find("asking again in 1 s", 1, true), text)
		assert.equal(2, seen.count)
	end)

	it("gives up where the node says that it takes longer than five minutes, or not how long", function()
		for _, more in ipairs({ "Retry-After: 301\r\n", "" }) do
			local url, seen = node({ status = "429 Too Many Requests", more = more, body = LIMITED })
			local code, text = run("show", "--url", url)
			assert.equal(1, code, text)
			assert.truthy(text:find("the node refused: too many", 1, true), text)
			assert.equal(1, seen.count)
		end
	end)

	it("ends an age that hangs, also one that has printed something", function()
		for i, script in ipairs({ "exec sleep 600", "echo NKR1; exec sleep 600", "trap '' TERM; exec sleep 600" }) do
			local bin = ("%s/bin%d"):format(dir, i)
			assert(uv.fs_mkdir(bin, 448))
			files.write(bin .. "/age", "#!/bin/sh\n" .. script .. "\n", 448)
			local code, out, err = nodes.run({ "PATH=" .. bin .. ":" .. os.getenv("PATH"), nodes.program, "recovery", "give",
				"-i", alice.path, "--share", dir .. "/no-share.age", "--url", "http://127.0.0.1:1", "--rpc", "http://127.0.0.1:1",
				"--pcr", "x", "--age-timeout", "1",
			}, { program = "/usr/bin/env" })
			assert.equal(2, code, out .. err)
			assert.truthy(err:find("age did not end within 1 s (--age-timeout)", 1, true), err)
		end
	end)

	it("shows no more of an RPC server's URL than where it is: a key may stand behind that", function()
		local address = "0x" .. ("1"):rep(40)
		local urls = { "http://127.0.0.1:1/v3/key-of-mine" }
		local names = { id = 1, app_id = "49", registry = address, kms_registry = address }
		for _, failure in ipairs({
			{ loop.complete(verify.on_chain, native, { wallet = address }, names, urls) },
			{ loop.complete(snapshot_anchor.newest, native, address, urls) },
		}) do
			assert.equal("ERR_CONNECT", failure[3])
			assert.truthy(failure[2]:find("http://127.0.0.1:1", 1, true), failure[2])
			assert.is_nil(failure[2]:find("key-of-mine", 1, true), failure[2])
		end
	end)

	it("says which program is missing", function()
		local code, out, err = nodes.run({ "PATH=/nonexistent", nodes.program, "recovery", "give", "-i", alice.path,
			"--share", dir .. "/no-share.age", "--url", "http://127.0.0.1:1", "--rpc", "http://127.0.0.1:1", "--pcr", "x",
		}, { program = "/usr/bin/env" })
		assert.equal(2, code, out .. err)
		assert.truthy(err:find("cannot run 'age'", 1, true), err)
	end)
end)
