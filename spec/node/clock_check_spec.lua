--- kms.node.clock_check: when this node's clock counts as wrong. Real nodes: spec/e2e/clock_spec.lua.

local clock_check = require("kms.node.clock_check")

local NOW = 1800000000000

describe("clock_check", function()
	local check, list, mono, wall, lines

	before_each(function()
		list, mono, wall, lines = {}, 5000, NOW, {}
		for i = 1, 4 do list[i] = { wallet = "0x" .. i } end
		local function note(_, event) lines[#lines + 1] = event end
		check = clock_check.new({
			peers = { others = function() return list end },
			wall_ms = function() return wall end, mono_ms = function() return mono end, skew_ms = 15000,
			log = { error = note, info = note, limited = function(_, _, _, _, event) note(nil, event) end },
		})
	end)

	local function pass(ms) wall, mono = wall + ms, mono + ms end

	-- The member's clock is ahead of this node's by so much.
	local function hear(number, ahead_ms)
		check:heard(list[number], wall + ahead_ms, mono, mono)
	end

	it("is wrong behind the head by more than the skew, and right again when that is over", function()
		check:head(wall + 15000)
		assert.is_nil(check.reason)
		check:head(wall + 40500)
		assert.equal("clock: 40 s behind the chain", check.reason)
		check:head(wall + 15000)
		assert.is_nil(check.reason)
		assert.same({ "the clock is wrong: writes are refused", "the clock is right again: writes are accepted" }, lines)
	end)

	it("is not wrong because the head lags", function()
		check:head(wall - 250000)
		assert.is_nil(check.reason)
	end)

	it("is wrong ahead of, or behind, the majority of at least three clocks", function()
		hear(1, -40500)
		assert.is_nil(check.reason)
		hear(2, -41000)
		assert.equal("clock: 40 s ahead of 2 of 3 clocks", check.reason)
		hear(3, 0)
		assert.is_nil(check.reason) -- two against two
		hear(4, -40500)
		assert.equal("clock: 40 s ahead of 3 of 5 clocks", check.reason)
		for i = 1, 4 do hear(i, 20000) end
		assert.equal("clock: 20 s behind 4 of 5 clocks", check.reason)
		for i = 1, 4 do hear(i, 15000) end
		assert.is_nil(check.reason)
	end)

	it("is not wrong by the word of one other, which is warned of", function()
		hear(1, -40000)
		assert.is_nil(check.reason)
		hear(2, 0)
		hear(3, 100)
		assert.is_nil(check.reason)
		assert.equal("the clock of a member differs", lines[1])
		assert.same({ ["0x1"] = -40000, ["0x2"] = 0, ["0x3"] = 100 }, check:status().members)
	end)

	it("counts what members said for ten minutes, and only while they are members", function()
		hear(1, -40000)
		hear(2, -40000)
		pass(600000)
		check:head(wall)
		assert.is_string(check.reason)
		pass(1)
		check:head(wall)
		assert.is_nil(check.reason)
		hear(1, -40000)
		hear(2, -40000)
		assert.is_string(check.reason)
		list = { list[1] }
		check:head(wall)
		assert.is_nil(check.reason)
	end)

	it("sees a step of its own clock by what members said before", function()
		hear(1, 0)
		hear(2, 0)
		wall = wall + 40000
		check:head(wall - 2000)
		assert.equal("clock: 40 s ahead of 2 of 3 clocks", check.reason)
	end)

	it("takes the middle of an exchange for the member's moment, and nothing from a slow one", function()
		check:heard(list[1], wall, mono - 1000, mono)
		assert.equal(500, check:status().members["0x1"])
		check:heard(list[2], wall, mono - 2001, mono)
		assert.is_nil(check:status().members["0x2"])
	end)
end)
