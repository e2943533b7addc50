-- `nova-kms call batch`, and what `nova-kms call` remembers of nodes, as a user sees it.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local exit = require("kms.cli.exit")
local files = require("spec.support.files")
local node = require("spec.support.node")
local uv = require("luv")

local MASTER = ("5a"):rep(32)

local function lines_of(out)
	local list = {}
	for line in out:gmatch("([^\n]*)\n") do list[#list + 1] = cjson.decode(line) end
	return list
end

describe("nova-kms call", function()
	local running, url, dir

	setup(function()
		running = node.start({ env = { MASTER_SECRET_HEX = MASTER } })
		url, dir = "http://127.0.0.1:" .. running.port, files.temp_dir()
	end)
	teardown(function()
		running:stop()
		files.remove_dir(dir)
	end)

	local function call(words, more)
		local env = { DATA_DIR = running.dir }
		for name, value in pairs(more or {}) do env[name] = value end
		return node.run({ "call", table.unpack(words) }, { env = env })
	end

	-- Writes operations, one a line, and runs them.
	local function batch(text, ...)
		files.write(dir .. "/batch", text)
		return call({ "batch", dir .. "/batch", "--url", url, ... })
	end

	describe("batch", function()
		it("prints a result for each operation, in their order, and runs them in it", function()
			local secret = crypto.random(40)
			local code, out, err = batch(table.concat({
				cjson.encode({ op = "put", key = "b/\u{e4}\"", value = crypto.base64(secret), ttl_ms = 60000 }), "",
				'{"op":"get","key":"b/\u{e4}\\""}', '  {"op":"derive","path":"w/r","context":"c","length":16}\r',
				'{"op":"list","prefix":"b/","limit":5}', '{"key":"b/\\u00e4\\"","op":"delete"}',
			}, "\n"))
			assert.same({ 0, "" }, { code, err })
			local results = lines_of(out)
			assert.equal(5, #results)
			for _, result in ipairs(results) do assert.same({ 200, 1000 }, { result.status, result.app_id }) end
			assert.equal(crypto.base64(secret), results[2].value)
			assert.equal(crypto.base64(crypto.derive(crypto.unhex(MASTER), "1000", "w/r", "c", 16)), results[3].key)
			assert.same({ "b/\u{e4}\"" }, results[4].keys)
			assert.is_true(results[5].deleted)
		end)

		it("goes on after an operation that is refused, names its line, and says by its exit code that one was", function()
			local code, out, err = batch(
				'{"op":"get","key":"none"}\n\n{"op":"derive","path":"p"}\n{"op":"delete","key":"none"}\n')
			assert.equal(exit.FAILED, code)
			local results = lines_of(out)
			assert.same({ 404, 200, 404 }, { results[1].status, results[2].status, results[3].status })
			assert.same({ "not_found", "not_found" }, { results[1].code, results[3].code })
			local why = "HTTP 404 not_found: not found\n"
			assert.equal("nova-kms: line 1: " .. why .. "nova-kms: line 4: " .. why, err)
		end)

		it("sends nothing where a line is wrong, and names it", function()
			for _, case in ipairs({
				{ "nonsense", "line 2: not valid JSON" }, { '{"op":"burn"}', "line 2: op: a field is out of range" },
				{ '{"op":"put","key":"x"}', "line 2: value: a required field is missing" },
				{ '{"op":"put","key":"x","value":"%"}', "line 2: value: not canonical base64" },
				{ '{"op":"put","key":"x","value":"","ttl":5}', "line 2: the operation has no such field" },
				{ '{"op":"derive","path":"p","length":1025}', "line 2: length: a field is out of range" },
				{ '{"op":"get","key":"a"}{}', "line 2: not valid JSON" }, { '[{"op":"list"}]', "line 2: not valid JSON" },
				{ '{"op":"get","key":"a"', "line 2: not valid JSON" },
			}) do
				local code, out, err = batch('{"op":"put","key":"never","value":""}\n' .. case[1] .. "\n")
				assert.same({ case[1], exit.USAGE, "" }, { case[1], code, out })
				assert.truthy(err:find(case[2] .. " (`nova-kms call batch --help` shows", 1, true), err)
			end
			assert.equal(exit.FAILED, (call({ "get", "--key", "never", "--url", url })))
			assert.equal(exit.USAGE, (call({ "batch", dir .. "/none", "--url", url })))
		end)

		it("reads the standard input, also more than a message holds, and nothing at all", function()
			local operations = {}
			for i = 1, 700 do operations[i] = ('{"op":"derive","path":"p%d","length":%d}'):format(i, i) end
			files.write(dir .. "/batch", table.concat(operations, "\n") .. "\n")
			local fd = assert(uv.fs_open(dir .. "/batch", "r", 0))
			local code, out = node.run({ "call", "batch", "-", "--url", url }, {
				env = { DATA_DIR = running.dir }, stdin = fd,
			})
			uv.fs_close(fd)
			assert.equal(0, code)
			local results = lines_of(out)
			assert.equal(700, #results)
			for i, result in ipairs(results) do assert.same({ i, "p" .. i }, { result.length, result.path }) end
			for _, empty in ipairs({ "", "\n", "\n \n" }) do
				local got, text = batch(empty)
				assert.same({ 0, "" }, { got, text })
			end
		end)

		it("says for each operation that no node answered", function()
			local code, out, err = call({ "batch", dir .. "/batch", "--url", "http://127.0.0.1:1" })
			assert.same({ exit.UNREACHABLE, "" }, { code, out })
			assert.truthy(err:find("127.0.0.1 port 1 ", 1, true), err) -- libcurl's words differ by version
		end)

		it("takes the next --url where the first is not reached", function()
			files.write(dir .. "/batch", '{"op":"derive","path":"p"}\n')
			local code, out = call({ "batch", dir .. "/batch", "--url", "http://127.0.0.1:1", "--url", url })
			assert.equal(0, code)
			assert.equal(1, #lines_of(out))
			local pinned = { "batch", dir .. "/batch", "--url", "http://127.0.0.1:1", "--url", url, "--node-wallet",
				running.wallet }
			local _, _, err = call(pinned)
			assert.truthy(err:find("--node-wallet once for each --url", 1, true), err)
		end)
	end)

	it("remembers nodes with sessions in the user's state folder, and refuses a file that others can write", function()
		local words = { "derive", "--path", "p", "--url", url }
		local path = dir .. "/home/.local/state/nova-kms/known-nodes"
		assert.equal(0, (call(words, { HOME = dir .. "/home" })))
		assert.equal(running.wallet .. "\n", files.read(path))
		assert.equal(0, (call(words, { HOME = dir .. "/home", XDG_STATE_HOME = dir .. "/xdg" })))
		assert.equal(running.wallet .. "\n", files.read(dir .. "/xdg/nova-kms/known-nodes"))
		assert(uv.fs_chmod(path, 438)) -- 0666
		local code, out, err = call(words, { HOME = dir .. "/home" })
		assert.same({ exit.USAGE, "" }, { code, out })
		assert.truthy(err:find("can be written by other users", 1, true), err)
		words[#words + 1], words[#words + 2] = "--known-nodes", "-"
		assert.equal(0, (call(words, { HOME = dir .. "/home" })))
	end)

	it("goes without a memory where none can be kept, and says it", function()
		local nowhere = "/proc/nova-kms/known-nodes" -- no folder can be made there
		local code, out, err = call({ "derive", "--path", "p", "--url", url, "--known-nodes", nowhere })
		assert.equal(0, code)
		assert.equal(45, #out)
		assert.truthy(err:find("cannot remember that node " .. running.wallet, 1, true), err)
	end)
end)
