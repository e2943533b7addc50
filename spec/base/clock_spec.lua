local clock = require("kms.base.clock")

describe("clock", function()
	local wall, mono, subject

	before_each(function()
		wall, mono = 1700000000000, 5000
		subject = clock.new({
			wall_ms = function() return wall end, mono_ms = function() return mono end, max_skew_ms = 15000,
		})
	end)

	local function pass(ms)
		wall, mono = wall + ms, mono + ms
	end

	it("is the machine's clock while that runs", function()
		pass(60000)
		assert.equal(wall, subject:now())
		wall = wall + 14000 -- NTP slews and steps a little
		assert.equal(wall, subject:now())
		wall = wall - 15000
		assert.equal(wall, subject:now())
	end)

	for name, jump in pairs({ ahead = 3600000, ["ahead by one more than allowed"] = 15001, back = -3600000 }) do
		it("runs on where the machine's jumps " .. name .. ", and says so", function()
			local before = subject:now()
			wall = wall + jump
			pass(1000)
			assert.equal(before + 1000, subject:now())
			local ok, message = subject:check(before - 2000)
			assert.is_nil(ok)
			assert.truthy(message:find(("jumped by %d ms"):format(jump), 1, true), message)
			pass(1000)
			assert.equal(before + 2000, subject:now())
		end)
	end

	it("takes no number of small steps for the passing of time, but one between two looks at the chain", function()
		local before = subject:now()
		for _ = 1, 240 do
			wall = wall + 15000
			subject:now()
		end
		assert.equal(before, subject:now())
		assert.is_nil(subject:check(before - 2000))
		wall = before
		for _ = 1, 3 do
			wall = wall + 15000
			assert.is_true(subject:check(wall - 2000))
			assert.equal(wall, subject:now())
		end
	end)

	it("goes on as before when the jump is undone", function()
		wall = wall + 3600000
		subject:now()
		wall = wall - 3600000
		assert.equal(wall, subject:now())
		assert.is_true(subject:check(wall - 100000))
	end)

	it("takes a jump that the chain's time bears out", function()
		for _, jump in ipairs({ 3600000, -3600000 }) do
			wall = wall + jump
			assert.are_not.equal(wall, subject:now())
			assert.is_true(subject:check(wall - 2000))
			assert.equal(wall, subject:now())
		end
	end)
end)
