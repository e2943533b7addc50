local calendar = require("kms.base.calendar")

describe("kms.base.calendar", function()
	local FIRST, LAST = -719162, 2932896 -- 0001-01-01 and 9999-12-31

	it("knows every day of four hundred years, after which days repeat, and the ends of its own", function()
		local function check(days)
			local date = os.date("!*t", days * 86400)
			local seconds = calendar.unix_s(date.year, date.month, date.day, 0, 0, 0)
			if seconds ~= days * 86400 then error(("day %d is %s"):format(days, seconds)) end
		end
		for days = -365, 146097 do check(days) end
		check(FIRST)
		check(LAST)
		assert.is_nil(calendar.unix_s(0, 12, 31, 0, 0, 0))
		assert.is_nil(calendar.unix_s(10000, 1, 1, 0, 0, 0))
	end)

	it("has times of day, and leap seconds", function()
		assert.equal(1760583282, calendar.unix_s(2025, 10, 16, 2, 54, 42))
		assert.equal(86400, calendar.unix_s(1970, 1, 1, 23, 59, 60))
	end)

	for _, odd in ipairs({
		{ 2025, 2, 29, 0, 0, 0 }, { 1900 + 200, 2, 29, 0, 0, 0 }, { 2025, 4, 31, 0, 0, 0 }, { 2025, 13, 1, 0, 0, 0 },
		{ 2025, 0, 1, 0, 0, 0 }, { 2025, 1, 0, 0, 0, 0 }, { 2025, 1, 32, 0, 0, 0 }, { 2025, 1, 1, 24, 0, 0 },
		{ 2025, 1, 1, 0, 60, 0 }, { 2025, 1, 1, 0, 0, 61 },
	}) do
		it("has no " .. table.concat(odd, " "), function() assert.is_nil(calendar.unix_s(table.unpack(odd))) end)
	end
end)
