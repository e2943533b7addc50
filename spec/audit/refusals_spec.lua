-- How many lines about refusals an audit log gets, whoever asks for them.

require("spec.support.native")
local refusals = require("kms.audit.refusals")

describe("kms.audit.refusals", function()
	local now, self

	before_each(function()
		now = 1000
		self = refusals.new({ mono_ms = function() return now end })
	end)

	local function take(key, count)
		local taken = 0
		for _ = 1, count do taken = taken + (self:take(key) and 1 or 0) end
		return taken
	end

	it("gives each application sixty lines a minute, and counts the others", function()
		assert.equal(60, take("1", 100))
		assert.equal(60, take("2", 61))
		assert.same({ ["1"] = 40, ["2"] = 1 }, self:report())
		assert.equal(41, self.suppressed)
		assert.is_false(self:has_counts())
		now = now + 1000
		assert.equal(1, take("1", 2))
		assert.same({ ["1"] = 1 }, self:report())
		now = now + 60000
		assert.equal(60, take("1", 60))
		assert.same({}, self:report())
	end)

	it("tells long keys apart: wallets, and events with their codes", function()
		local one, two = "0x" .. ("ab"):rep(20), "0x" .. ("ab"):rep(19) .. "ac"
		assert.same({ 60, 60 }, { take(one, 61), take(two, 60) })
		assert.equal(60, take("share_refused/service_unavailable", 62))
		assert.same({ [one] = 1, ["share_refused/service_unavailable"] = 2 }, self:report())
	end)

	it("names sixty-four applications in a report, and the others together", function()
		for i = 1, 70 do assert.equal(60, take(tostring(i), 62)) end
		local counts, named = self:report(), 0
		for _ in pairs(counts) do named = named + 1 end
		assert.same({ 65, 2, 2, 12 }, { named, counts["1"], counts["64"], counts.others })
	end)
end)
