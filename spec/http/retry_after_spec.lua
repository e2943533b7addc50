--- kms.http.retry_after: seconds and dates.

local retry_after = require("kms.http.retry_after")

describe("http.retry_after", function()
	it("reads the three forms of a date", function()
		for _, date in ipairs({
			"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		}) do
			assert.equal(784111777, retry_after.parse_date(date, 1800000000), date)
		end
		for date, seconds in pairs({
			["Thu, 01 Jan 1970 00:00:00 GMT"] = 0, ["Thu, 29 Feb 2024 23:59:59 GMT"] = 1709251199,
			["Fri, 01 Mar 2024 00:00:00 GMT"] = 1709251200, ["Monday, 05-Jan-76 00:00:00 GMT"] = 3345408000,
		}) do
			assert.equal(seconds, retry_after.parse_date(date, 1800000000), date)
		end
	end)

	it("takes nothing else for a date", function()
		for _, date in ipairs({
			"", "tomorrow", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Foo 1994 08:49:37 GMT",
			"Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
		}) do
			assert.is_nil(retry_after.parse_date(date, 1800000000), date)
		end
	end)

	it("counts a date from the response's own", function()
		local date = "Sun, 06 Nov 1994 08:49:37 GMT"
		assert.equal(7, retry_after.seconds({ ["retry-after"] = "Sun, 06 Nov 1994 08:49:44 GMT", date = date }))
		assert.equal(0, retry_after.seconds({ ["retry-after"] = date, date = "Sun, 06 Nov 1994 08:49:44 GMT" }))
		local later = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 1000)
		local seconds = retry_after.seconds({ ["retry-after"] = later })
		assert.is_true(seconds <= 1000 and seconds > 900, seconds)
	end)

	it("reads seconds", function()
		for value, seconds in pairs({ ["0"] = 0, ["120"] = 120, [("9"):rep(30)] = 999999999 }) do
			assert.equal(seconds, retry_after.seconds({ ["retry-after"] = value }))
		end
		for _, value in ipairs({ "", "-1", "1.5", "5 s" }) do
			assert.is_nil(retry_after.seconds({ ["retry-after"] = value }))
		end
		assert.is_nil(retry_after.seconds({}))
	end)
end)
