-- kms.sync.page_slots: who holds the memory of a page, and for how long.

local page_slots = require("kms.sync.page_slots")

describe("kms.sync.page_slots", function()
	local now, slots, closed

	before_each(function()
		now, closed = 0, {}
		slots = page_slots.new(2, function() return now end)
	end)

	-- A reply of 1 MiB to a peer, of which `slices` slices of 256 KiB have been handed out.
	local function send(key, slices)
		local body = { len = function() return 1 << 20 end, slice = function(_, _, count) return ("x"):rep(count) end }
		function body.close() closed[#closed + 1] = key end
		local source = assert(slots:take(key)):hold(body)
		for i = 1, slices do source:slice(1 + (i - 1) * 262144, 262144) end
		return source
	end

	it("are one for a peer and a few in all, and are given back with the reply", function()
		local one = send("one", 1)
		assert.is_nil(slots:take("one"))
		send("two", 1)
		assert.is_nil(slots:take("three"))
		one:close()
		assert.truthy(slots:take("three"))
		assert.same({ "one" }, closed)
	end)

	it("are not lost by peers that read fast enough, nor before anything was sent", function()
		send("one", 1)
		slots:take("two")
		now = 4000 -- 256 KiB in 4 s
		assert.is_nil(slots:take("three"))
	end)

	-- Two members that do not read kept a third one from joining for two minutes.
	it("go from the slowest reader below 64 KiB/s to the next peer that asks", function()
		local one, two = send("one", 2), send("two", 1)
		now = 9000
		local three = slots:take("three")
		assert.truthy(three)
		assert.same({ "two" }, closed)
		assert.has_error(function() two:slice(262145, 262144) end, "the slot went to another peer")
		two:close()
		assert.same({ "two" }, closed)
		assert.is_nil(slots:take("three"))
		assert.truthy(slots:take("four"))
		assert.same({ "two", "one" }, closed)
		one:close()
		assert.is_nil(slots:take("five"))
		three:release()
		assert.truthy(slots:take("five"))
	end)
end)
