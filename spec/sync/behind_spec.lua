local behind = require("kms.sync.behind")

local SKEW_MS, MARGIN_MS = 15000, 1000
local PAUSE_MS = SKEW_MS + MARGIN_MS

describe("what a peer has not taken yet", function()
	local now, list, cursor

	before_each(function()
		now = 0
		list = behind.new({ mono_ms = function() return now end, skew_ms = SKEW_MS })
		cursor = { since = 30 }
	end)

	local function sent(through, later, opaque) return { through = through, later = later, opaque = opaque } end

	it("is nothing at first", function()
		assert.is_nil(list:next(cursor))
		assert.equal(30, behind.taken(cursor))
	end)

	it("is one range over all pages that were not taken, however many there are", function()
		list:mark(cursor, 10, sent(12, 1))
		for since = 100, 2000 do list:mark(cursor, since, sent(since + 1, 1)) end
		list:mark(cursor, 20, sent(22, 3))
		assert.equal(10, behind.taken(cursor))
		assert.equal(2001, cursor.behind.through)
		assert.equal(1 + 1901 + 3, cursor.behind.records)
	end)

	it("is sent again after the pause, page by page, and is done when all was taken", function()
		list:mark(cursor, 10, sent(20, 1))
		now = PAUSE_MS - 1
		assert.is_nil(list:next(cursor))
		now = PAUSE_MS
		assert.equal(10, list:next(cursor))
		list:resent(cursor, 10, sent(15, 0))
		assert.equal(15, list:next(cursor))
		list:resent(cursor, 15, sent(20, 0))
		assert.is_nil(cursor.behind)
	end)

	it("shrinks to the pages that are still not taken, and waits twice as long, up to ten minutes", function()
		list:mark(cursor, 10, sent(40, 5))
		now = PAUSE_MS
		list:resent(cursor, 10, sent(20, 0))
		list:resent(cursor, 20, sent(30, 2))
		list:resent(cursor, 30, sent(40, 0))
		assert.equal(20, behind.taken(cursor))
		assert.equal(30, cursor.behind.through)
		assert.equal(2, cursor.behind.records)
		local pauses = {}
		for i = 1, 8 do
			pauses[i] = cursor.behind.due_ms - now
			now = cursor.behind.due_ms
			assert.equal(20, list:next(cursor))
			list:resent(cursor, 20, sent(30, 2))
		end
		assert.same({ 32000, 64000, 128000, 256000, 512000, 600000, 600000, 600000 }, pauses)
	end)

	it("takes in what is refused while it is sent", function()
		list:mark(cursor, 10, sent(20, 1))
		now = PAUSE_MS
		list:resent(cursor, 10, sent(15, 1))
		list:mark(cursor, 50, sent(60, 1))
		list:resent(cursor, 15, sent(20, 0))
		list:resent(cursor, 20, sent(60, 1))
		assert.equal(10, behind.taken(cursor))
		assert.equal(60, cursor.behind.through)
	end)

	it("holds back only the changes of the range from what counts as held", function()
		list:mark(cursor, 10, sent(20, 1))
		for sequence, held in pairs({ [10] = true, [11] = false, [20] = false, [21] = true, [30] = true, [31] = false }) do
			assert.equal(held, behind.holds(cursor, sequence - 1, sequence))
		end
	end)

	-- A write's own change is one of those since it began. Where one of them was refused, it may be that one.
	it("holds back a write whose change may be in the range, also when later changes were taken", function()
		list:mark(cursor, 10, sent(20, 1))
		for since, held in pairs({ [9] = false, [15] = false, [19] = false, [20] = true, [25] = true }) do
			assert.equal(held, behind.holds(cursor, since, 30))
		end
		cursor.behind = nil
		behind.refuse(cursor, 10, 20)
		assert.same({ false, true }, { behind.holds(cursor, 19, 30), behind.holds(cursor, 20, 30) })
		assert.is_true(behind.holds(cursor, 5, 10))
	end)

	it("is given up with an existing node, which does not say why it rejects", function()
		list:mark(cursor, 10, sent(20, 1, true))
		for _ = 1, 2 do
			now = cursor.behind.due_ms
			list:resent(cursor, 10, sent(20, 1, true))
		end
		assert.is_nil(cursor.behind)
	end)
end)
