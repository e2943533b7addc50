--- spec/run, spec/worker and spec/support/setup.lua: whatever a spec does, the tests close with their count, and a spec
-- that ends busted is a failure with a name.

local files = require("spec.support.files")
local uv = require("luv")
local wait = require("spec.support.wait")

local RUN = uv.cwd() .. "/spec/run"
local BUILD = os.getenv("KMS_BUILD") or "build"

describe("spec/run", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

	local function run_specs(specs, settings)
		local pipe = io.popen(("cd / && %s SPECS='%s' '%s' '%s' lua 2>&1"):format(settings or "", specs, RUN, BUILD))
		local out = pipe:read("a")
		local ok = pipe:close() == true
		return out:match("([^\n]*)\n$"), out, ok
	end

	-- Runs a file of specs with one that passes, one with this body, and one that passes again.
	local function run(body, settings)
		files.write(dir .. "/odd_spec.lua", ([[
local uv = require("luv")
local wait = require("spec.support.wait")
describe("a file", function()
	it("has a good test", function() end)
	it("has an odd test", function() %s end)
	it("has one more", function() end)
end)
]]):format(body))
		return run_specs(dir .. "/odd_spec.lua", settings)
	end

	it("counts what passes", function()
		local last, out, ok = run("")
		assert.equal("3 passed, 0 failed", last)
		assert.is_true(ok, out)
	end)

	it("counts an error in a callback, and goes on", function()
		local last, out, ok = run([[
			local timer = uv.new_timer()
			timer:start(0, 0, function() timer:close(); error("thrown in a callback") end)
			uv.run("once")]])
		assert.equal("3 passed, 1 failed", last)
		assert.is_false(ok)
		assert.truthy(out:find("odd_spec.lua:6: thrown in a callback", 1, true), out)
		assert.truthy(out:find("\na callback during: has an odd test\n", 1, true), out)
	end)

	it("fails the test that waits while a callback throws", function()
		local last, out = run([[
			local timer = uv.new_timer()
			timer:start(0, 0, function() timer:close(); assert.equal(1, 2) end)
			wait.until_true("nothing", function() return false end, 60)]])
		assert.equal("2 passed, 1 failed", last)
		assert.truthy(out:find("Expected objects to be equal", 1, true), out)
		assert.is_nil(out:find("in vain", 1, true), out)
	end)

	it("counts the use of a closed handle in a callback, and goes on", function()
		local last, out = run([[
			local server, client = uv.new_tcp(), uv.new_tcp()
			server:bind("127.0.0.1", 0)
			server:listen(1, function() end)
			client:connect("127.0.0.1", server:getsockname().port, function() client:close() end)
			client:close()
			server:close()
			wait.sleep(0)
			uv.run("nowait")]])
		assert.equal("2 passed, 1 failed", last)
		assert.truthy(out:find("closing", 1, true), out)
	end)

	it("lets a write to a closed socket fail", function()
		local last, out = run([[
			local fds = uv.socketpair("stream", 0, { nonblock = true }, { nonblock = true })
			local one, other = uv.new_pipe(false), uv.new_pipe(false)
			one:open(fds[1]); other:open(fds[2])
			other:close()
			uv.run("nowait")
			os.execute("kill -PIPE $PPID")
			local failure
			one:write("x", function(what) failure = what; one:close() end)
			wait.until_true("the write to fail", function() return failure end)]])
		assert.equal("3 passed, 0 failed", last, out)
	end)

	for what, body in pairs({
		["that exits"] = "os.exit(0)",
		["that is killed"] = "uv.kill(uv.os_getpid(), 'sigkill')",
		["that crashes"] = "uv.kill(uv.os_getpid(), 'sigsegv')",
		["that leaves a process with its output open"] = "os.execute('sleep 100 & echo $! >%s') os.exit(3)",
	}) do
		it("names the test of a busted " .. what .. ", and counts what came before", function()
			local left = dir .. "/left"
			local last, out, ok = run((body:gsub("%%s", left)))
			local pid = files.read(left)
			if pid then os.execute("kill " .. pid) end
			assert.equal("1 passed, 1 failed", last, out)
			assert.is_false(ok)
			assert.truthy(out:find("busted died with status %d+\nin [^\n]*/odd_spec%.lua: has an odd test\n"), out)
		end)
	end

	it("counts a crash behind the summary", function()
		local last, out, ok = run([[
			_G.kept = setmetatable({}, { __gc = function() uv.kill(uv.os_getpid(), "sigkill") end })
			debug.getregistry().kept = _G.kept]])
		assert.equal("3 passed, 1 failed", last, out)
		assert.is_false(ok)
		assert.truthy(out:find("behind its summary", 1, true), out)
	end)

	it("ends one that hangs", function()
		local last, out
		for _, seconds in ipairs({ 3, 12, 48 }) do -- until busted gets as far as the test that hangs
			last, out = run("uv.sleep(600000)", "SPEC_TIMEOUT=" .. seconds)
			assert.truthy(out:find(("busted did not end within %d s\n"):format(seconds), 1, true), out)
			if out:find("has an odd test", 1, true) then break end
		end
		assert.equal("1 passed, 1 failed", last, out)
		assert.truthy(out:find("did not end within %d+ s\nin [^\n]*/odd_spec%.lua: has an odd test\n"), out)
	end)

	describe("with several files", function()
		-- Writes a file of specs: names and bodies of its tests in turn.
		local function write(name, ...)
			local text, tests = {}, { ... }
			for i = 1, #tests, 2 do text[#text + 1] = ("it(%q, function() %s end)"):format(tests[i], tests[i + 1]) end
			files.write(("%s/%s_spec.lua"):format(dir, name), table.concat(text, "\n") .. "\n")
		end

		it("counts over all of them: those that pass, fail, are pending and die", function()
			write("good", "one", "", "two", "", "three", "pending('later')")
			write("bad", "four", "", "five", "error('thrown by five')", "six", "assert.equal(1, 2)")
			write("dead", "seven", "", "eight", "os.exit(3)", "nine", "")
			local last, out, ok = run_specs(dir)
			assert.equal("4 passed, 3 failed, 1 skipped", last, out)
			assert.is_false(ok)
			for name, counts in pairs({ good = "2 passed, 0 failed, 1 skipped", bad = "1 passed, 2 failed",
				dead = "1 passed, 1 failed" }) do
				assert.truthy(out:find(("\n%s/%s_spec%%.lua +%%d+ s  %s\n"):format(dir:gsub("%p", "%%%0"), name, counts)), out)
			end
			assert.truthy(out:find("bad_spec.lua:2: thrown by five", 1, true), out)
			assert.truthy(out:find("\nbusted died with status %d+\nin [^\n]*/dead_spec%.lua: eight\n"), out)
			assert.truthy(out:find("later", 1, true), out)
		end)

		it("names those that failed once more at the end, and repeats what the first five said last", function()
			for i = 1, 6 do write("bad" .. i, "fails", ("error('thrown by %d')"):format(i)) end
			write("good", "one", "")
			local last, out = run_specs(dir, "JOBS=2")
			assert.equal("1 passed, 6 failed", last, out)
			local at = assert(out:find("\n--- failed: ", 1, true), out)
			local told = 0
			for i = 1, 6 do
				assert.truthy(out:find(("\n--- failed: %s/bad%d_spec.lua (sim)\n"):format(dir, i), at, true), out)
				if out:find("thrown by " .. i, at, true) then told = told + 1 end
			end
			assert.equal(5, told, out)
			assert.is_nil(out:find("good_spec", at, true), out)
		end)

		it("fails for a file that is not there, and where there is no test at all", function()
			write("good", "one", "")
			local last, out, ok = run_specs(("%s/good_spec.lua %s/none_spec.lua"):format(dir, dir))
			assert.truthy(last:find("^1 passed, [1-9]%d* failed$"), out)
			assert.is_false(ok)
			assert(uv.fs_mkdir(dir .. "/empty", 448))
			last, out, ok = run_specs(dir .. "/empty")
			assert.equal("0 passed, 0 failed", last, out)
			assert.is_false(ok)
		end)

		it("prints what each one says in one piece", function()
			for _, name in ipairs({ "a", "b", "c" }) do
				write(name, "speaks", ("for i = 1, 300 do print('%s') io.stdout:flush() end error('of %s')"):format(name, name))
			end
			local last, out = run_specs(dir, "JOBS=3")
			assert.equal("0 passed, 3 failed", last, out)
			for _, name in ipairs({ "a", "b", "c" }) do
				local piece = assert(out:find((name .. "\n"):rep(300), 1, true), out)
				local failure = assert(out:find("of " .. name, piece, true), out)
				assert.is_nil(out:sub(piece + 600, failure):find("_spec%.lua +%d+ s "), out)
			end
		end)

		it("runs as many at a time as JOBS says", function()
			local meet = [[
				local files, wait = require("spec.support.files"), require("spec.support.wait")
				files.write("%s/is_%s", "")
				wait.until_true("the other one", function() return files.read("%s/is_%s") end)]]
			write("a", "meets b", meet:format(dir, "a", dir, "b"))
			write("b", "meets a", meet:format(dir, "b", dir, "a"))
			assert.equal("2 passed, 0 failed", (run_specs(dir, "JOBS=2")))
			for _, name in ipairs({ "a", "b" }) do
				write(name, "is alone", ([[
					assert(os.execute("mkdir '%s/inside'"))
					require("spec.support.wait").sleep(300)
					assert(os.execute("rmdir '%s/inside'"))]]):format(dir, dir))
			end
			assert.equal("2 passed, 0 failed", (run_specs(dir, "JOBS=1")))
		end)

		it("counts those that a worker has left when it is killed", function()
			write("a", "kills its worker", [[
				local read, pid = require("spec.support.files").read, "self"
				while not read("/proc/" .. pid .. "/cmdline"):find("spec/worker", 1, true) do
					pid = read("/proc/" .. pid .. "/stat"):match("%) %a (%d+)")
				end
				os.execute("kill -9 " .. pid)]])
			write("b", "never runs", "")
			local last, out, ok = run_specs(dir, "JOBS=1")
			assert.equal("0 passed, 2 failed", last, out)
			assert.is_false(ok)
			assert.truthy(out:find("b_spec.lua (sim): no result, its worker died", 1, true), out)
		end)

		it("leaves no process and no file when it is told to end", function()
			assert(uv.fs_mkdir(dir .. "/tmp", 448))
			for _, name in ipairs({ "a", "b" }) do
				write(name, "stays", ("os.execute([[echo $PPID $$ >'%s/%s.new'; mv '%s/%s.new' '%s/%s'; sleep 600]])"):format(
					dir, name, dir, name, dir, name))
			end
			local ended
			local all, env = uv.os_environ(), {}
			all.SPECS, all.TMPDIR, all.JOBS = dir, dir .. "/tmp", "2"
			for name, value in pairs(all) do env[#env + 1] = name .. "=" .. value end
			local handle
			handle = assert(uv.spawn(RUN, { args = { BUILD, "lua" }, env = env }, function(code)
				ended = code
				handle:close()
			end))
			local pids = {}
			for _, name in ipairs({ "a", "b" }) do
				local line = wait.until_true("the spec " .. name, function() return files.read(dir .. "/" .. name) end)
				for pid in line:gmatch("%d+") do pids[#pids + 1] = tonumber(pid) end
			end
			assert.equal(4, #pids)
			handle:kill("sigterm")
			wait.until_true("the end", function() return ended end)
			assert.equal(130, ended)
			for _, pid in ipairs(pids) do
				wait.until_true("the end of a process", function() return not uv.kill(pid, 0) end)
			end
			local pipe <close> = io.popen(("ls '%s/tmp'"):format(dir))
			assert.equal("", pipe:read("a"))
		end)
	end)
end)
