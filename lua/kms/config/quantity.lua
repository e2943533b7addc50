--- Durations and sizes with a unit: "90s", "24h", "512MiB". A key whose name ends in _SECONDS, _MS or _BYTES
-- takes them beside plain numbers, which are of the unit in the name. Sizes have binary units only (IEC 80000-13):
-- kB and MB mean different things to different people.

local M = {}

local DURATIONS = { names = "ms, s, m, h, d", ms = 1, s = 1000, m = 60 * 1000, h = 3600 * 1000, d = 86400 * 1000 }
local SIZES = { names = "B, KiB, MiB, GiB, TiB", b = 1, kib = 1 << 10, mib = 1 << 20, gib = 1 << 30, tib = 1 << 40 }

-- By the end of a key's name: the units, and the name's own one.
local KINDS = {
	SECONDS = { units = DURATIONS, own = DURATIONS.s },
	MS = { units = DURATIONS, own = DURATIONS.ms },
	BYTES = { units = SIZES, own = SIZES.b },
}

local MAX_DIGITS = 18 -- of a number; any such number is below 2^63

local function kind_of(name) return KINDS[name:match("_(%u+)$")] end

--- The names of the units that a key takes.
-- @param name  the key's name
-- @return text, such as "ms, s, m, h, d" | nil if its values have no unit
function M.units(name)
	local kind = kind_of(name)
	return kind and kind.units.names
end

--- Reads a number with a unit. Units are read in any case, and may stand after a space.
-- @param text  the text, without spaces around it
-- @param name  the key's name, whose end says in what unit the result is
-- @return whole number | nil if the text is none, or the key has no unit, or the value is not whole in the key's unit
function M.parse(text, name)
	local kind = kind_of(name)
	local digits, unit = text:match("^(%d+) ?(%a+)$")
	if not kind or not digits or #digits > MAX_DIGITS then return nil end
	local factor = kind.units[unit:lower()]
	if math.type(factor) ~= "integer" then return nil end
	local number = math.tointeger(tonumber(digits))
	if number > math.maxinteger // factor then return nil end
	local value = number * factor
	return value % kind.own == 0 and value // kind.own or nil
end

return M
