local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local rate_queue = require("kms.async.rate_queue")
local wait = require("spec.support.wait")

local LIMITS = { per_second = 20, burst = 5, at_once = 1000, max_waiting = 4, wait_ms = 10000 }
local function never() return 1 end -- drops early

-- "a" is an address; "n1" is address 1 of the network n.
local function path(key) return { key:sub(1, 1), key } end

local function new(change)
	local limits = { random = never }
	for name, value in pairs(LIMITS) do limits[name] = value end
	for name, value in pairs(change or {}) do limits[name] = value end
	return rate_queue.new(limits)
end

describe("rate_queue", function()
	it("admits a burst, then its rate by the clock", function()
		local now = 0
		local queue = new({ now = function() return now end, max_waiting = 0 })
		for _ = 1, 5 do assert.is_true(queue:enter()) end
		assert.is_false(queue:enter())
		assert.equal(1, queue:retry_after_s())
		now = 49
		assert.is_false(queue:enter())
		now = 50
		assert.is_true(queue:enter())
		assert.is_false(queue:enter())
		now = 100000
		for _ = 1, 5 do assert.is_true(queue:enter()) end -- never more than the burst
		assert.is_false(queue:enter())
	end)

	it("queues up to a bound, in order, and refuses the rest", function()
		loopback.run(function()
			local queue, order = new({ burst = 1 }), {}
			assert.is_true(queue:enter())
			for i = 1, 4 do
				loop.spawn(function()
					assert.is_true(queue:enter())
					order[#order + 1] = i
				end)
			end
			assert.equal(4, queue:waiting())
			assert.is_false(queue:enter())
			assert.equal(1, queue:retry_after_s())
			wait.until_true("all to enter", function() return #order == 4 end)
			assert.same({ 1, 2, 3, 4 }, order)
			assert.equal(0, queue:waiting())
		end)
	end)

	-- Callers of these keys, in this order, wait. Returns the keys in the order in which they were admitted.
	local function admitted(queue, keys)
		local order, refused = {}, {}
		for _, key in ipairs(keys) do
			loop.spawn(function()
				local list = queue:enter(path(key)) and order or refused
				list[#list + 1] = key
			end)
		end
		return order, refused
	end

	it("admits one call of each key in turn, however many wait of another key", function()
		loopback.run(function()
			local queue = new({ burst = 1, max_waiting = 100, per_second = 200 })
			assert.is_true(queue:enter(path("a")))
			local order = admitted(queue, { "a", "a", "a", "a", "b", "c", "b" })
			wait.until_true("all to enter", function() return #order == 7 end)
			assert.same({ "a", "b", "c", "a", "b", "a", "a" }, order)
		end)
	end)

	it("has room for other keys when one key has filled it", function()
		loopback.run(function()
			local queue = new({ burst = 1, per_second = 100 })
			assert.is_true(queue:enter(path("a")))
			local order, refused = admitted(queue, { "a", "a", "a", "a", "a", "b", "c" })
			wait.until_true("all to end", function() return #order + #refused == 7 end)
			assert.same({ "a", "a", "a" }, refused)
			assert.same({ "a", "b", "c", "a" }, order)
			assert.equal(0, queue:waiting())
		end)
	end)

	it("drops newcomers of a long line at random before the queue is full", function()
		loopback.run(function()
			local queue = new({ burst = 1, max_waiting = 100, random = function() return 0.5 end })
			assert.is_true(queue:enter(path("a")))
			for _ = 1, 200 do loop.spawn(function() queue:enter(path("a")) end) end
			assert.is_true(queue:waiting() > 25 and queue:waiting() < 70, queue:waiting())
			local before = queue:waiting()
			loop.spawn(function() queue:enter(path("b")) end)
			assert.equal(before + 1, queue:waiting())
		end)
	end)

	it("has turns for networks first: one network's many addresses delay another by one turn", function()
		loopback.run(function()
			local queue = new({ burst = 1, max_waiting = 100, per_second = 200 })
			assert.is_true(queue:enter(path("a")))
			local order = admitted(queue, { "n1", "n2", "n3", "n1", "n4", "b", "c" })
			wait.until_true("all to enter", function() return #order == 7 end)
			assert.same({ "n1", "b", "c", "n2", "n3", "n4", "n1" }, order)
		end)
	end)

	it("has room for newcomers when the addresses of one network have filled it", function()
		loopback.run(function()
			local queue = new({ burst = 1, per_second = 100, max_waiting = 50 })
			assert.is_true(queue:enter(path("a")))
			local keys = {}
			for i = 1, 500 do keys[i] = "n" .. i end
			for _, key in ipairs({ "b", "b", "c" }) do keys[#keys + 1] = key end
			local order, refused = admitted(queue, keys)
			wait.until_true("all to end", function() return #order + #refused == 503 end)
			assert.equal(453, #refused)
			for _, key in ipairs(refused) do assert.equal("n", key:sub(1, 1)) end
			assert.same({ "b", "c" }, { order[2], order[3] })
		end)
	end)

	it("drops newcomers of a crowded network at random, but not who is behind nobody of its own", function()
		loopback.run(function()
			local queue = new({ burst = 1, max_waiting = 100, random = function() return 0.5 end })
			assert.is_true(queue:enter(path("a")))
			for i = 1, 200 do loop.spawn(function() queue:enter(path("n" .. i)) end) end
			assert.is_true(queue:waiting() > 25 and queue:waiting() < 70, queue:waiting())
			for _ = 1, 30 do loop.spawn(function() queue:enter(path("m1")) end) end
			loop.spawn(function() queue:enter(path("m2")) end)
			assert.equal(1, (select(2, queue.lines:count(path("m2")))))
		end)
	end)

	it("admits a network's first call in a minute beside others that have used up the rest", function()
		local now = 0
		local queue = new({ burst = 8, part_to_keep = 1 / 4, max_waiting = 0, now = function() return now end })
		assert.is_true(queue:enter(path("a"))) -- of what is kept
		for _ = 1, 6 do assert.is_true(queue:enter(path("a"))) end
		assert.is_false(queue:enter(path("a")))
		assert.is_true(queue:enter(path("b1")))
		assert.is_false(queue:enter(path("b2"))) -- of the same network
		assert.is_false(queue:enter(path("c"))) -- nothing is left
		now = 200 -- 4 more, one of which is kept
		for _ = 1, 3 do assert.is_true(queue:enter(path("a"))) end
		assert.is_false(queue:enter(path("a")))
		assert.is_false(queue:enter(path("c"))) -- it has called, in vain
		assert.is_true(queue:enter(path("d")))
		now = 59000
		assert.is_true(queue:enter(path("d")))
		now = 60200
		for _ = 1, 6 do assert.is_true(queue:enter(path("d"))) end
		assert.is_false(queue:enter(path("d")))
		assert.is_true(queue:enter(path("c"))) -- a minute later
		now = 70000
		for _ = 1, 6 do assert.is_true(queue:enter()) end
		assert.is_false(queue:enter())
		now = 70200
		for _ = 1, 4 do assert.is_true(queue:enter()) end -- what is kept is full, so the rest has all that comes
		assert.is_false(queue:enter())
	end)

	it("keeps nothing as long as no call names a network", function()
		local queue = new({ burst = 8, at_once = 8, part_to_keep = 1 / 4, max_waiting = 0, now = function() return 0 end })
		for _ = 1, 8 do assert.is_true(queue:enter()) end
		assert.is_false(queue:enter())
		assert.is_false(queue:enter(path("a")))
	end)

	it("keeps room among those that run for a network's first call", function()
		local queue = new({ burst = 100, at_once = 4, part_to_keep = 1 / 4, max_waiting = 0 })
		for _ = 1, 3 do assert.is_true(queue:enter(path("a"))) end
		assert.is_false(queue:enter(path("a")))
		assert.is_true(queue:enter(path("b")))
		assert.is_false(queue:enter(path("c")))
		assert.equal(4, queue.running)
	end)

	it("keeps at_once running, and admits the next one when one leaves", function()
		loopback.run(function()
			local entered, checks = 0, 0
			local queue = new({ burst = 100, at_once = 2, now = function()
				checks = checks + 1
				return loop.now()
			end })
			for _ = 1, 3 do
				loop.spawn(function()
					assert.is_true(queue:enter())
					entered = entered + 1
				end)
			end
			local before = checks
			wait.until_true("the queue's timer to run", function() return checks > before end)
			assert.equal(2, entered)
			queue:leave()
			wait.until_true("the third to enter", function() return entered == 3 end)
		end)
	end)

	it("lets no caller wait longer than wait_ms, and admits the one behind it", function()
		loopback.run(function()
			local queue, outcomes = new({ burst = 100, at_once = 1, wait_ms = 30 }), {}
			assert.is_true(queue:enter())
			loop.spawn(function() outcomes[1] = queue:enter() end)
			wait.until_true("the first outcome", function() return outcomes[1] ~= nil end)
			assert.is_false(outcomes[1])
			assert.equal(0, queue:waiting())
			loop.spawn(function() outcomes[2] = queue:enter() end)
			queue:leave()
			wait.until_true("the second outcome", function() return outcomes[2] ~= nil end)
			assert.is_true(outcomes[2])
			assert.equal(1, queue.running)
		end)
	end)

	it("refuses outside of a coroutine where it would have to wait", function()
		local queue = new({ burst = 1 })
		assert.is_true(queue:enter())
		assert.is_false(queue:enter())
	end)

	it("calls a function when admitted, and leaves also when it throws", function()
		local queue = new({ burst = 2, max_waiting = 0 })
		assert.same({ true, 1, nil, 3 }, { queue:with(path("a"), function(...) return ... end, 1, nil, 3) })
		local ok, failure = pcall(queue.with, queue, path("a"), function() error("broken", 0) end)
		assert.same({ false, "broken" }, { ok, failure })
		assert.equal(0, queue.running)
		assert.same({ false }, { queue:with(path("a"), function() error("called", 0) end) })
	end)
end)
