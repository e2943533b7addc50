-- Looking again and again whether something holds.

local poll = require("kms.async.poll")
local wait = require("spec.support.wait")

describe("a look that is repeated", function()
	it("calls back once, at the first look that finds what is looked for", function()
		local looks, calls = 0, 0
		poll.until_true(function()
			looks = looks + 1
			return looks == 3
		end, function() calls = calls + 1 end)
		assert.same({ 1, 0 }, { looks, calls })
		wait.until_true("the call", function() return calls == 1 end)
		wait.sleep(50)
		assert.same({ 3, 1 }, { looks, calls })
	end)

	it("calls back at once where it holds already", function()
		local called = false
		poll.until_true(function() return true end, function() called = true end)
		assert.is_true(called)
	end)

	it("does not call back when it is ended, and may be ended again", function()
		local holds, called = false, false
		local stop = poll.until_true(function() return holds end, function() called = true end)
		stop()
		stop()
		holds = true
		wait.sleep(100)
		assert.is_false(called)
	end)

	-- A node may wait for its custodians for hours, and looked 50 times a second.
	it("becomes seldom", function()
		local looks = 0
		local stop = poll.until_true(function()
			looks = looks + 1
			return false
		end, function() end)
		wait.sleep(2000)
		stop()
		assert.is_true(looks < 50, looks) -- 34 on a quiet machine, fewer on a busy one; 100 if it was every 20 ms
	end)
end)
