local uv = require("luv")
local loop = require("kms.base.loop")
local wait = require("spec.support.wait")

describe("loop", function()
	local reported

	before_each(function()
		reported = {}
		loop.on_error(function(text) reported[#reported + 1] = text end)
	end)

	after_each(function() uv.run("nowait") end)

	local function throw() error("spec: thrown in a callback") end

	local function check_reported(count)
		assert.equal(count, #reported)
		for _, text in ipairs(reported) do
			assert.truthy(text:find("spec: thrown in a callback", 1, true))
			assert.truthy(text:find("stack traceback", 1, true))
		end
	end

	it("reports and counts errors of callbacks, and goes on", function()
		local before, calls = loop.errors(), 0
		loop.guard(throw)()
		local timer = loop.every(1, function()
			calls = calls + 1
			throw()
		end)
		wait.until_true("three calls", function() return calls >= 3 end)
		loop.close(timer)
		loop.close(timer)
		check_reported(calls + 1)
		assert.equal(before + calls + 1, loop.errors())
	end)

	it("passes arguments to a guarded callback", function()
		local got
		loop.guard(function(...) got = { ... } end)(1, nil, 3)
		assert.same({ 1, nil, 3 }, got)
		loop.guard(function(...) got = { ... } end, "self")(1)
		assert.same({ "self", 1 }, got)
	end)

	it("outlives a report that throws itself", function()
		loop.on_error(throw)
		loop.guard(throw)()
	end)

	it("gives the results of a try", function()
		assert.same({ true, 1, 2 }, { loop.try(function(a, b) return a, b end, 1, 2) })
		assert.is_false(loop.try(throw))
		check_reported(1)
	end)

	it("runs a function once after its time", function()
		-- By the loop's clock, from which timers count.
		local calls, began_ms, took_ms = 0, uv.now(), nil
		loop.after(30, function()
			calls = calls + 1
			took_ms = uv.now() - began_ms
		end)
		local later
		loop.after(90, function() later = true end)
		wait.until_true("a later timer", function() return later end)
		assert.equal(1, calls)
		assert.is_true(took_ms >= 30, took_ms)
	end)

	it("takes a time that is over for now: deadlines pass between two looks at the clock", function()
		local done = 0
		loop.after(-1, function() done = done + 1 end)
		loop.spawn(function()
			loop.sleep(-1)
			done = done + 1
		end)
		wait.until_true("both", function() return done == 2 end)
	end)

	it("catches errors of coroutines before and after a wait", function()
		loop.spawn(throw)
		loop.spawn(function()
			loop.sleep(5)
			throw()
		end)
		check_reported(1)
		wait.until_true("the second", function() return #reported >= 2 end)
		check_reported(2)
	end)

	it("lets coroutines sleep side by side", function()
		local order = {}
		for _, ms in ipairs({ 60, 20, 40 }) do
			loop.spawn(function(pause)
				loop.sleep(pause)
				order[#order + 1] = pause
			end, ms)
		end
		wait.until_true("all", function() return #order == 3 end)
		assert.same({ 20, 40, 60 }, order)
		assert.has_error(function() loop.sleep(1) end, "sleep needs a coroutine")
	end)

	it("defers to the next iteration, one that throws does not stop the next", function()
		local order = {}
		loop.defer(throw)
		loop.defer(function()
			order[#order + 1] = "first"
			loop.defer(function() order[#order + 1] = "third" end)
		end)
		loop.defer(function() order[#order + 1] = "second" end)
		assert.same({}, order)
		wait.until_true("all", function() return #order == 3 end)
		assert.same({ "first", "second", "third" }, order)
		check_reported(1)
	end)

	it("calls back for signals", function()
		local calls = 0
		local handle = loop.on_signal("sigusr2", function() calls = calls + 1 end)
		uv.kill(uv.os_getpid(), "sigusr2")
		wait.until_true("the signal", function() return calls == 1 end)
		loop.close(handle)
	end)

	-- Raises a signal in this process, as often as that: each one reaches luv, none is merged by the kernel.
	local function raise(name, times)
		for _ = 1, times do uv.kill(uv.os_getpid(), name) end
	end

	it("serves everything else between two calls for signals that come faster than the calls return", function()
		local calls, turns, most_in_a_turn, in_a_turn = 0, 0, 0, 0
		local handle = loop.on_signal("sigusr2", function()
			calls, in_a_turn = calls + 1, in_a_turn + 1
			most_in_a_turn = math.max(most_in_a_turn, in_a_turn)
			if calls < 50 then raise("sigusr2", 40) end
		end)
		local check = uv.new_check()
		check:start(function() turns, in_a_turn = turns + 1, 0 end)
		raise("sigusr2", 40)
		wait.until_true("fifty calls", function() return calls >= 50 end)
		loop.close(check)
		loop.close(handle)
		assert.equal(1, most_in_a_turn)
		assert.is_true(turns >= 50, turns .. " turns")
	end)

	it("makes no call for a signal whose handle is closed before it", function()
		local calls, seen = 0, 0
		local handle = loop.on_signal("sigusr2", function() calls = calls + 1 end)
		local second = uv.new_signal()
		second:start("sigusr2", function()
			seen = seen + 1
			loop.close(handle)
		end)
		raise("sigusr2", 1)
		wait.until_true("the signal", function() return seen == 1 end)
		local later
		loop.after(1, function() later = true end)
		wait.until_true("iterations after it", function() return later end)
		loop.close(second)
		assert.equal(0, calls)
	end)

	describe("complete", function()
		it("runs what waits to its end where no coroutine is, also when a timer ends it", function()
			assert.same({ 1, nil, 3 }, { loop.complete(function(a)
				loop.sleep(2)
				loop.sleep(2)
				return a, nil, 3
			end, 1) })
			assert.equal("at once", loop.complete(function() return "at once" end))
			local after
			loop.after(1, function() after = true end)
			wait.until_true("a loop that runs as before", function() return after end)
		end)

		it("runs in the coroutine that calls it", function()
			local inner, done
			local outer = loop.spawn(function()
				loop.complete(function()
					inner = coroutine.running()
					loop.sleep(1)
				end)
				done = true
			end)
			wait.until_true("the end", function() return done end)
			assert.equal(outer, inner)
		end)

		it("throws what is thrown", function()
			assert.has_error(function() loop.complete(function() error("no", 0) end) end, "no")
		end)

		-- In a process of its own: the loop of this one may hold sockets that other specs have left open.
		it("throws when nothing is left to wait for", function()
			local program = [[package.path = "lua/?.lua;" .. package.path
				local loop = require("kms.base.loop")
				print(pcall(loop.complete, coroutine.yield))]]
			local out = assert(io.popen(("unset LD_PRELOAD; timeout 60 lua5.4 -e '%s'"):format(program)))
			assert.truthy(out:read("a"):find("^false\t.*there is nothing left to wait for"))
			out:close()
		end)
	end)
end)
