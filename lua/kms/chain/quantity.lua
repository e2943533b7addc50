--- Quantities of JSON-RPC: "0x" and hexadecimal digits.

local M = {}

--- Parses a quantity.
-- @return integer | nil: not a quantity, or more than 63 bits
function M.parse(text)
	if type(text) ~= "string" or #text > 18 or not text:find("^0x%x+$") then return nil end
	local number = math.tointeger(tonumber(text))
	return number and number >= 0 and number or nil
end

--- Formats an integer of 0 or more.
function M.format(number)
	return ("0x%x"):format(number)
end

return M
