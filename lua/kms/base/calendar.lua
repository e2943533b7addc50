--- Dates and times of day in UTC, by the Gregorian calendar (RFC 3339), whatever the machine's time zone is.

local M = {}

local DAY_S = 86400

-- Days since 1970-01-01. Years begin in March here, so that a leap day ends one.
local function days_since_1970(year, month, day)
	if month < 3 then year, month = year - 1, month + 12 end
	return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
end

--- The Unix time of a date and a time of day.
-- @param year  1 to 9999; month, day, hour, minute; second: up to 60, a leap second counts as the next one
-- @return Unix seconds | nil: the calendar has no such date, or the day no such time
function M.unix_s(year, month, day, hour, minute, second)
	if year < 1 or year > 9999 or month < 1 or month > 12 or day < 1 or day > 31 then return nil end
	if hour > 23 or minute > 59 or second > 60 then return nil end
	local days = days_since_1970(year, month, day)
	-- A day that the month does not have is one of the next month.
	if os.date("!%d", days * DAY_S) ~= ("%02d"):format(day) then return nil end
	return days * DAY_S + hour * 3600 + minute * 60 + second
end

return M
