local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local single_flight = require("kms.async.single_flight")
local wakeup = require("kms.async.wakeup")

describe("single_flight", function()
	-- Calls in a coroutine of its own and records what came of it.
	local function call(flights, outcomes, at, key, fn)
		loop.spawn(function() outcomes[at] = { pcall(flights.with, flights, key, fn, at) } end)
	end

	it("runs one call of a key at a time, and gives its results to all who ask meanwhile", function()
		loopback.run(function()
			local flights, outcomes, runs, go = single_flight.new(), {}, 0, wakeup.new()
			for at = 1, 3 do
				call(flights, outcomes, at, "k", function(first)
					runs = runs + 1
					go:wait()
					return first, nil, "third"
				end)
			end
			call(flights, outcomes, 4, "other", function() return "at once" end)
			assert.same({ [4] = { true, "at once" } }, outcomes)
			assert.is_true(flights:is_running("k"))
			go:wake()
			for at = 1, 3 do assert.same({ true, 1, nil, "third" }, outcomes[at]) end
			assert.equal(1, runs)
			assert.is_false(flights:is_running("k"))
		end)
	end)

	it("throws in every caller what the call threw, and runs again afterwards", function()
		loopback.run(function()
			local flights, outcomes, go = single_flight.new(), {}, wakeup.new()
			for at = 1, 2 do
				call(flights, outcomes, at, "k", function()
					go:wait()
					error("broken", 0)
				end)
			end
			go:wake()
			assert.same({ { false, "broken" }, { false, "broken" } }, outcomes)
			assert.equal("well", flights:with("k", function() return "well" end))
		end)
	end)
end)
