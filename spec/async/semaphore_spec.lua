local gate = require("kms.async.semaphore")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")

describe("gate", function()
	-- Two iterations of the loop at least: its clock stands still while Lua runs, so that a first
	-- timer can be over at once.
	local function settle()
		loopback.sleep(2)
		loopback.sleep(2)
	end

	-- Enters in a coroutine of its own and notes what came of it.
	local function enter(g, log, name)
		loop.spawn(function()
			local entered = g:enter()
			log[#log + 1] = name .. (entered and " in" or " out")
		end)
	end

	it("lets so many in, and the others in their order as places become free", function()
		loopback.run(function()
			local g, log = gate.new({ at_once = 2, max_waiting = 10, wait_ms = 60000 }), {}
			for i = 1, 5 do enter(g, log, tostring(i)) end
			assert.same({ "1 in", "2 in" }, log)
			g:leave()
			assert.equal(2, #log) -- in the next iteration, not inside of leave
			settle()
			assert.same({ "1 in", "2 in", "3 in" }, log)
			g:leave()
			g:leave()
			settle()
			assert.same({ "1 in", "2 in", "3 in", "4 in", "5 in" }, log)
			g:leave()
			g:leave()
			assert.equal(0, g.inside)
			loopback.sleep(250) -- the queue's timer has gone by then
			assert.is_nil(g.timer)
		end)
	end)

	it("refuses at once where too many wait", function()
		loopback.run(function()
			local g, log = gate.new({ at_once = 1, max_waiting = 1, wait_ms = 60000 }), {}
			for i = 1, 3 do enter(g, log, tostring(i)) end
			assert.same({ "1 in", "3 out" }, log)
			g:leave()
			settle()
			assert.same({ "1 in", "3 out", "2 in" }, log)
			loopback.sleep(250)
		end)
	end)

	it("gives up who has waited too long, and its place in the queue", function()
		loopback.run(function()
			local g, log = gate.new({ at_once = 1, max_waiting = 2, wait_ms = 30 }), {}
			for i = 1, 3 do enter(g, log, tostring(i)) end
			loopback.sleep(250)
			assert.same({ "1 in", "2 out", "3 out" }, log)
			enter(g, log, "4")
			g:leave()
			settle()
			assert.equal("4 in", log[4])
			g:leave()
			assert.equal(0, g.inside)
			loopback.sleep(250)
		end)
	end)
end)
