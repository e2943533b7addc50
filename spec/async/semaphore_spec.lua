local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local semaphore = require("kms.async.semaphore")
local wait = require("spec.support.wait")

describe("semaphore", function()
	-- Enters in a coroutine of its own and records the outcome.
	local function enter(slots, log, name)
		loop.spawn(function()
			local entered = slots:enter()
			log[#log + 1] = name .. (entered and " in" or " out")
		end)
	end

	it("admits at_once, then the others in FIFO order as slots become free", function()
		loopback.run(function()
			local slots, log = semaphore.new({ at_once = 2, max_waiting = 10, wait_ms = 60000 }), {}
			for i = 1, 5 do enter(slots, log, tostring(i)) end
			assert.same({ "1 in", "2 in" }, log)
			slots:leave()
			assert.equal(2, #log) -- in the next iteration, not inside of leave
			wait.until_true("the outcomes", function() return #log == 3 end)
			slots:leave()
			slots:leave()
			wait.until_true("the outcomes", function() return #log == 5 end)
			assert.same({ "1 in", "2 in", "3 in", "4 in", "5 in" }, log)
			slots:leave()
			slots:leave()
			assert.equal(0, slots.running)
			wait.until_true("the queue's timer to end", function() return slots.timer == nil end)
		end)
	end)

	it("refuses at once where too many wait", function()
		loopback.run(function()
			local slots, log = semaphore.new({ at_once = 1, max_waiting = 1, wait_ms = 60000 }), {}
			for i = 1, 3 do enter(slots, log, tostring(i)) end
			assert.same({ "1 in", "3 out" }, log)
			slots:leave()
			wait.until_true("the outcomes", function() return #log == 3 end)
			assert.same({ "1 in", "3 out", "2 in" }, log)
			wait.until_true("the queue's timer to end", function() return slots.timer == nil end)
		end)
	end)

	it("refuses callers that have waited for wait_ms, and frees their places in the queue", function()
		loopback.run(function()
			local slots, log = semaphore.new({ at_once = 1, max_waiting = 2, wait_ms = 30 }), {}
			for i = 1, 3 do enter(slots, log, tostring(i)) end
			wait.until_true("the outcomes", function() return #log == 3 end)
			assert.same({ "1 in", "2 out", "3 out" }, log)
			enter(slots, log, "4")
			slots:leave()
			wait.until_true("the outcomes", function() return #log == 4 end)
			assert.equal("4 in", log[4])
			slots:leave()
			assert.equal(0, slots.running)
			wait.until_true("the queue's timer to end", function() return slots.timer == nil end)
		end)
	end)

	it("calls a function with a slot, and leaves also when it throws", function()
		local slots = semaphore.new({ at_once = 1, max_waiting = 0, wait_ms = 1 })
		assert.same({ true, 1, nil, 3 }, { slots:with(function(...) return ... end, 1, nil, 3) })
		local ok, failure = pcall(slots.with, slots, function() error("broken", 0) end)
		assert.same({ false, "broken" }, { ok, failure })
		assert.equal(0, slots.running)
		slots:enter()
		assert.same({ false }, { slots:with(function() error("called", 0) end) })
	end)
end)
