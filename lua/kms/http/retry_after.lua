--- How long the Retry-After of a response asks to wait: seconds, or a date (RFC 9110 sections 5.6.7 and 10.2.3).

local calendar = require("kms.base.calendar")

local M = {}

local MAX_S = 999999999
local MONTHS = {
	Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}
local CLOCK = "(%d%d):(%d%d):(%d%d)"

-- A year of two digits that would be more than 50 years ahead is of the century before.
local function full_year(digits, now_s)
	local year, now = tonumber(digits), tonumber(os.date("!%Y", now_s))
	if #digits == 4 then return year end
	year = now - now % 100 + year
	return year > now + 50 and year - 100 or year
end

-- The day, month, year and time of day in one of the three forms that a recipient must know | nil.
local function split(date)
	local day, month, year, h, m, s = date:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) " .. CLOCK .. " GMT$")
	if not day then day, month, year, h, m, s = date:match("^%a+, (%d%d)%-(%a%a%a)%-(%d%d) " .. CLOCK .. " GMT$") end
	if not day then month, day, h, m, s, year = date:match("^%a%a%a (%a%a%a) ([%d ]%d) " .. CLOCK .. " (%d%d%d%d)$") end
	return day, month, year, h, m, s
end

--- Parses an HTTP date.
-- @param now_s Unix seconds, for years of two digits
-- @return Unix seconds | nil: none
function M.parse_date(date, now_s)
	local day, month, year, h, m, s = split(date)
	month = MONTHS[month]
	day, h, m, s = tonumber(day), tonumber(h), tonumber(m), tonumber(s)
	return day and month and calendar.unix_s(full_year(year, now_s), month, day, h, m, s) or nil
end

--- The seconds to wait by a response's Retry-After. A date counts from the response's own Date, where it has one: the
-- clocks may differ.
-- @param headers by lower-case name
-- @return integer of 0 or more | nil: it does not say
function M.seconds(headers)
	local value = headers["retry-after"]
	if not value then return nil end
	if value:find("^%d+$") then return #value > 9 and MAX_S or math.tointeger(tonumber(value)) end
	local now_s = os.time()
	local until_s = M.parse_date(value, now_s)
	if not until_s then return nil end
	local from_s = headers.date and M.parse_date(headers.date, now_s) or now_s
	return math.min(math.max(0, until_s - from_s), MAX_S)
end

return M
