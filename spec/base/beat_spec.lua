-- The beat: one timer for all that is looked at every few seconds (kms.base.beat).

local uv = require("luv")
local beat = require("kms.base.beat")
local loop = require("kms.base.loop")
local wait = require("spec.support.wait")

-- Timers that this spec's code made. (uv.walk ends the process when the loop has handles that are not luv's: C code's.)
local made, new_timer = {}, uv.new_timer

-- Those that will fire.
local function timers()
	local count = 0
	for _, timer in ipairs(made) do
		if not timer:is_closing() and timer:is_active() then count = count + 1 end
	end
	return count
end

describe("the beat", function()
	setup(function()
		uv.new_timer = function() -- luacheck: ignore 122
			made[#made + 1] = new_timer()
			return made[#made]
		end
	end)
	teardown(function() uv.new_timer = new_timer end) -- luacheck: ignore 122

	it("calls all that is due in one iteration of the loop, by one timer", function()
		local before, when = timers(), {}
		local handles = {}
		for i = 1, 3 do handles[i] = beat.every(1, function() when[i] = when[i] or uv.now() end) end
		assert.equal(before + 1, timers())
		wait.until_true("the first beat", function() return when[3] end)
		assert.same({ when[1], when[1], when[1] }, when)
		for _, handle in ipairs(handles) do loop.close(handle) end
		assert.equal(before, timers())
	end)

	it("lets periods meet, wakes for nothing else, and says when each call was due", function()
		local when = { {}, {} }
		local one = beat.every(0.2, function(due_ms) table.insert(when[1], due_ms) end)
		wait.sleep(70)
		local two = beat.every(0.4, function(due_ms) table.insert(when[2], due_ms) end)
		wait.until_true("two of the longer period", function() return #when[2] >= 2 end)
		loop.close(one)
		loop.close(two)
		for i, period_ms in ipairs({ 200, 400 }) do
			for k = 2, #when[i] do assert.equal(0, (when[i][k] - when[i][k - 1]) % period_ms) end
		end
		for _, due_ms in ipairs(when[2]) do assert.equal(0, (due_ms - when[1][1]) % 200) end
	end)

	it("counts from a full minute by the machine's clock", function()
		-- 2026-01-01 00:20:10.25
		assert.equal(5000000 - 10250, beat.last_minute_ms(5000000, 1767226810, 250999))
		assert.equal(7, beat.last_minute_ms(7, 1767225600, 999))
		assert.equal(8 - 59999, beat.last_minute_ms(8, 1767225599, 999999))
	end)

	it("lets no period of an hour end soon after its start", function()
		local handle = beat.every(3600, function() end)
		assert.is_true(handle.due_ms - uv.now() > (3600 - 600) * 1000)
		loop.close(handle)
	end)

	it("shortens what recurs after a minute or more so that it ends at every second beat, and nothing else", function()
		local handle = beat.every(3600, function() end)
		for _, ms in ipairs({ 60000, 80000, 3600000 }) do
			local shortened = beat.shortened_ms(ms)
			assert.is_true(shortened <= ms and shortened > ms - 20000, shortened)
			assert.equal(0, (uv.now() + shortened - handle.due_ms) % 20000)
		end
		for _, ms in ipairs({ 0, 1000, 20000, 40000, 59999, 60001, 70000, 90000 }) do
			assert.equal(ms, beat.shortened_ms(ms))
		end
		loop.close(handle)
	end)

	-- Milliseconds by which a beat that is made anew misses the ends of periods by the machine's clock. What lies between
	-- two looks at the clocks may take long: the nearest of many pairs of looks counts.
	local function miss_of_new_beat()
		package.loaded["kms.base.beat"] = nil
		local own, nearest, calls = require("kms.base.beat"), math.huge, 0
		package.loaded["kms.base.beat"] = beat
		local handle = own.every(0.1, function(due_ms)
			uv.update_time()
			local seconds, microseconds = uv.gettimeofday()
			local late_ms = (seconds * 1000 + microseconds // 1000 - (uv.now() - due_ms)) % 100
			nearest, calls = math.min(nearest, late_ms, 100 - late_ms), calls + 1
		end)
		wait.until_true("calls", function() return calls >= 3 and nearest <= 3 or calls >= 20 end)
		loop.close(handle)
		return nearest
	end

	it("calls when a period ends by the machine's clock", function()
		-- A beat looks once at the clocks when it is made: the second one is made where that took long.
		local nearest = miss_of_new_beat()
		if nearest > 3 then nearest = miss_of_new_beat() end
		assert.is_true(nearest <= 3, nearest)
	end)

	it("calls once for all that it has missed", function()
		local PERIOD_MS, calls = 50, {}
		local handle = beat.every(PERIOD_MS / 1000, function(due_ms)
			calls[#calls + 1] = { due_ms = due_ms, at_ms = uv.now() }
			if #calls > 1 then return end
			uv.sleep(500) -- the loop is blocked
		end)
		wait.until_true("three calls", function() return #calls >= 3 end)
		loop.close(handle)
		for i = 2, 3 do
			local before, missed_ms = calls[i - 1], calls[i].due_ms - calls[i - 1].due_ms
			assert.equal(0, missed_ms % PERIOD_MS)
			-- The first period that ends after the call before, which a busy machine may have made late.
			local wait_ms = calls[i].due_ms - before.at_ms
			assert.is_true(wait_ms > 0 and wait_ms <= PERIOD_MS, wait_ms)
		end
		assert.is_true(calls[2].at_ms - calls[1].at_ms >= 500)
		assert.is_true(calls[3].due_ms - calls[1].due_ms >= 500)
	end)

	it("goes on after an error, and does not call what a call before it has closed", function()
		local calls, reported, second = 0, 0, nil
		loop.on_error(function() reported = reported + 1 end)
		finally(function() loop.on_error(function(text) io.stderr:write(text, "\n") end) end)
		local first = beat.every(1, function()
			calls = calls + 1
			loop.close(second)
			error("deliberate")
		end)
		second = beat.every(1, function() calls = calls + 100 end)
		wait.until_true("two beats", function() return calls >= 2 end)
		assert.same({ 2, 2 }, { calls, reported })
		loop.close(first)
		assert.is_true(first:is_closing())
	end)
end)
