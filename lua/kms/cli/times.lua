--- Times and durations for people.

local M = {}

local LAST_S = 253402300799 -- the end of the year 9999

--- Unix milliseconds as UTC text (ISO 8601) up to the year 9999; "-" for anything else.
function M.time(ms)
	local whole = type(ms) == "number" and math.tointeger(ms // 1000)
	return whole and whole >= 0 and whole <= LAST_S and os.date("!%Y-%m-%dT%H:%M:%SZ", whole) or "-"
end

--- Milliseconds of at most eight thousand years as text, in the largest unit that says enough; "-" for anything else.
function M.duration(ms)
	if type(ms) ~= "number" or math.abs(ms) > 1000 * LAST_S then return "-" end
	local s = ms // 1000
	if s < 120 then return ("%d s"):format(s) end
	if s < 7200 then return ("%d min"):format(s // 60) end
	return s < 172800 and ("%d h"):format(s // 3600) or ("%d d"):format(s // 86400)
end

return M
