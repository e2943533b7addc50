--- spec/run and spec/support/setup.lua: whatever a spec does, the tests close with their count, and a spec that ends
-- busted is a failure with a name.

local files = require("spec.support.files")

local BUILD = os.getenv("KMS_BUILD") or "build"

describe("spec/run", function()
	local dir

	before_each(function() dir = files.temp_dir() end)
	after_each(function() files.remove_dir(dir) end)

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
		local pipe = io.popen(("cd / && %s SPECS='%s/odd_spec.lua' '%s/spec/run' '%s' lua 2>&1"):format(
			settings or "", dir, require("luv").cwd(), BUILD))
		local out = pipe:read("a")
		local ok = pipe:close() == true
		return out:match("([^\n]*)\n$"), out, ok
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
		local last, out = run("while true do end", "SPEC_TIMEOUT=3")
		assert.equal("1 passed, 1 failed", last, out)
		assert.truthy(out:find("busted did not end within 3 s\nin [^\n]*/odd_spec%.lua: has an odd test\n"), out)
	end)
end)
