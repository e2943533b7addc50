local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local parallel = require("kms.async.parallel")
local wait = require("spec.support.wait")

describe("parallel.map", function()
	it("keeps the order, runs at_once calls at a time, and leaves out results of calls that threw", function()
		loopback.run(function()
			local running, most = 0, 0
			local real = loop.errors()
			loop.on_error(function() end)
			local results = parallel.map({ 30, 10, 20, 5, 1 }, 2, function(ms)
				running = running + 1
				most = math.max(most, running)
				wait.sleep(ms)
				running = running - 1
				if ms == 20 then error("broken") end
				return ms * 2
			end)
			loop.on_error(function(text) io.stderr:write(text, "\n") end)
			assert.same({ [1] = 60, [2] = 20, [4] = 10, [5] = 2 }, results)
			assert.equal(2, most)
			assert.equal(real + 1, loop.errors())
			assert.same({}, parallel.map({}, 3, function() return 1 end))
		end)
	end)
end)
