--- Writes JSON with sorted keys, exact integers (cjson writes those beyond 14 digits as floats) and
-- empty lists as lists.

local cjson = require("cjson")
local text = require("kms.base.text")

local M = {}

local MAX_DEPTH = 16
local LIST = {} -- metatable that marks a list

--- Marks a table as a list, which an empty table needs.
-- @return values
function M.list(values)
	return setmetatable(values, LIST)
end

local encode

local function encode_list(list, depth)
	local parts = {}
	for i, value in ipairs(list) do parts[i] = encode(value, depth) end
	return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(object, depth)
	local names, parts = {}, {}
	for name in pairs(object) do
		if type(name) ~= "string" then error("an object's key is not a string", 0) end
		names[#names + 1] = name
	end
	table.sort(names)
	for i, name in ipairs(names) do
		parts[i] = cjson.encode(text.utf8(name)) .. ":" .. encode(object[name], depth)
	end
	return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value, depth)
	local kind = type(value)
	if kind == "string" then return cjson.encode(text.utf8(value)) end
	if kind == "boolean" or math.type(value) == "integer" then return tostring(value) end
	if kind == "number" and value == value and math.abs(value) < math.huge then return ("%.14g"):format(value) end
	if value == cjson.null then return "null" end
	if kind ~= "table" then error("no JSON for a " .. kind, 0) end
	if depth == MAX_DEPTH then error("nested too deeply for JSON", 0) end
	if getmetatable(value) == LIST or value[1] ~= nil then return encode_list(value, depth + 1) end
	return encode_object(value, depth + 1)
end

--- Encodes a value.
-- @param value  string, boolean, finite number, cjson.null, or table of those; a table with [1], or marked
--   by M.list, is a list
-- @return text; throws for other values, for keys that are not strings, and beyond 16 levels
function M.encode(value)
	return encode(value, 0)
end

return M
