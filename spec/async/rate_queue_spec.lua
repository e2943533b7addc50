local lane = require("kms.async.rate_queue")
local loopback = require("spec.support.loopback")
local loop = require("kms.base.loop")

local LIMITS = { per_second = 20, burst = 5, at_once = 1000, max_waiting = 4, wait_ms = 10000 }

local function new(change)
	local limits = {}
	for name, value in pairs(LIMITS) do limits[name] = value end
	for name, value in pairs(change or {}) do limits[name] = value end
	return lane.new(limits)
end

describe("lane", function()
	it("admits a burst, then its rate by the clock", function()
		local now = 0
		local one = new({ now = function() return now end, max_waiting = 0 })
		for _ = 1, 5 do assert.is_true(one:enter()) end
		local ok, wait_s = one:enter()
		assert.same({ false, 1 }, { ok, wait_s })
		now = 49
		assert.is_false((one:enter()))
		now = 50
		assert.is_true((one:enter()))
		assert.is_false((one:enter()))
		now = 100000
		for _ = 1, 5 do assert.is_true((one:enter())) end -- never more than the burst
		assert.is_false((one:enter()))
	end)

	it("queues up to a bound, in order, and tells the rest when to come again", function()
		loopback.run(function()
			local one, order = new({ burst = 1 }), {}
			assert.is_true(one:enter())
			for i = 1, 4 do
				loop.spawn(function()
					assert.is_true((one:enter()))
					order[#order + 1] = i
				end)
			end
			assert.equal(4, one.waiting)
			local ok, wait_s = one:enter()
			assert.same({ false, 1 }, { ok, wait_s })
			while #order < 4 do loopback.sleep(10) end
			assert.same({ 1, 2, 3, 4 }, order)
			assert.equal(0, one.waiting)
		end)
	end)

	it("keeps so many running, and goes on when one leaves", function()
		loopback.run(function()
			local one, entered = new({ burst = 100, at_once = 2 }), 0
			for _ = 1, 3 do
				loop.spawn(function()
					assert.is_true((one:enter()))
					entered = entered + 1
				end)
			end
			loopback.sleep(120)
			assert.equal(2, entered)
			one:leave()
			while entered < 3 do loopback.sleep(5) end
		end)
	end)

	it("lets nobody wait longer than the limit, and gives the place to the next one", function()
		loopback.run(function()
			local one, outcomes = new({ burst = 100, at_once = 1, wait_ms = 30 }), {}
			assert.is_true(one:enter())
			loop.spawn(function() outcomes[1] = { one:enter() } end)
			while not outcomes[1] do loopback.sleep(5) end
			assert.is_false(outcomes[1][1])
			assert.equal(0, one.waiting)
			loop.spawn(function() outcomes[2] = { one:enter() } end)
			one:leave()
			while not outcomes[2] do loopback.sleep(5) end
			assert.is_true(outcomes[2][1])
			assert.equal(1, one.running)
		end)
	end)

	it("refuses where nobody can wait", function()
		local one = new({ burst = 1 })
		assert.is_true(one:enter())
		assert.is_false((one:enter()))
	end)
end)

describe("gather", function()
	local gather = require("kms.async.parallel")

	it("keeps the order, runs so many at once, and leaves out what broke", function()
		loopback.run(function()
			local running, most = 0, 0
			local real = loop.errors()
			loop.on_error(function() end)
			local results = gather.map({ 30, 10, 20, 5, 1 }, 2, function(ms)
				running = running + 1
				most = math.max(most, running)
				loopback.sleep(ms)
				running = running - 1
				if ms == 20 then error("broken") end
				return ms * 2
			end)
			loop.on_error(function(text) io.stderr:write(text, "\n") end)
			assert.same({ [1] = 60, [2] = 20, [4] = 10, [5] = 2 }, results)
			assert.equal(2, most)
			assert.equal(real + 1, loop.errors())
			assert.same({}, gather.map({}, 3, function() return 1 end))
		end)
	end)
end)

describe("chain.quantity", function()
	local quantity = require("kms.chain.quantity")

	it("reads what fits 63 bits, and nothing else", function()
		for text, number in pairs({
			["0x0"] = 0, ["0x1f"] = 31, ["0xFF"] = 255, ["0x7fffffffffffffff"] = math.maxinteger, ["0x00"] = 0,
		}) do assert.equal(number, quantity.parse(text), text) end
		local others = { "", "0x", "1", "0x8000000000000000", "0x10000000000000000", "0xg", " 0x1", "0x1 ", "0x1p2" }
		for _, text in ipairs(others) do assert.is_nil(quantity.parse(text), text) end
		assert.is_nil(quantity.parse(nil))
		assert.is_nil(quantity.parse(5))
		assert.equal("0x0", quantity.format(0))
		assert.equal("0x7fffffffffffffff", quantity.format(math.maxinteger))
	end)
end)
