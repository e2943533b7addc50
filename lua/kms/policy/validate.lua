--- Checks plain data against a shape and reports every mistake. A shape is a table with these fields:
--   type      "boolean", "integer", "number", "text", "function", "table" or "list"
--   min, max  of a number, of the bytes of a text, of the members of a list
--   values    the only texts allowed; for an integer or number, names that are allowed instead
--   pattern, what   of a text: a Lua pattern, and what it stands for in words
--   fields    of a table, all that are allowed: name -> shape; those with `required` must be present
--   of        of a list: the shape of its members
--   with      of a list: the fields that it may have besides its members
--   any       list of shapes: the first one whose type fits is used
--   allowed   words for `any`, for messages
--   check     function(value) -> nil | what is wrong (text), where in the value (".scope", or nil)

local suggest = require("kms.base.suggest")
local text = require("kms.base.text")

local M = {}

local MAX_SHOWN = 60 -- bytes of a value in a message
local MAX_MISTAKES = 100 -- further ones would help nobody and take time
local ENOUGH = {} -- thrown after MAX_MISTAKES

local function shown(value)
	if type(value) == "string" then return "'" .. text.printable(text.cut(value, MAX_SHOWN)) .. "'" end
	if type(value) == "table" or type(value) == "function" then return "a " .. type(value) end
	return tostring(value)
end

local function has(list, value)
	for _, known in ipairs(list or {}) do
		if known == value then return true end
	end
	return false
end

local function range(shape, what)
	return ("%s from %s to %s"):format(what, shape.min, shape.max)
end

local function allowed_number(shape, what)
	local words = range(shape, what)
	return shape.values and words .. " or one of " .. table.concat(shape.values, ", ") or words
end

-- By type: function(value, shape) -> whether it fits, what is allowed (words).
local TYPES = {}

function TYPES.boolean(value)
	return type(value) == "boolean", "true or false"
end

function TYPES.integer(value, shape)
	local ok = math.type(value) == "integer" and value >= shape.min and value <= shape.max
	return ok or has(shape.values, value), allowed_number(shape, "a whole number")
end

function TYPES.number(value, shape)
	local ok = type(value) == "number" and value >= shape.min and value <= shape.max
	return ok or has(shape.values, value), allowed_number(shape, "a number")
end

function TYPES.text(value, shape)
	if shape.values then
		return type(value) == "string" and has(shape.values, value), "one of " .. table.concat(shape.values, ", ")
	end
	local ok = type(value) == "string" and #value >= (shape.min or 1) and #value <= shape.max
	if shape.pattern then return ok and value:find(shape.pattern) ~= nil, shape.what end
	return ok, ("a text of at most %d bytes"):format(shape.max)
end

TYPES["function"] = function(value)
	return type(value) == "function", "a function"
end

function TYPES.table(value)
	return type(value) == "table", "a table"
end

function TYPES.list(value)
	return type(value) == "table", "a list"
end

local check

local function sorted_keys(value)
	local keys = {}
	for key in pairs(value) do keys[#keys + 1] = key end
	table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
	return keys
end

local function key_path(path, key)
	return path .. (type(key) == "string" and "." .. key or "[" .. tostring(key) .. "]")
end

local function unknown(fields, key)
	local near = type(key) == "string" and suggest.nearest(key, sorted_keys(fields))
	local name = text.printable(text.cut(tostring(key), MAX_SHOWN))
	return ("unknown name '%s'%s"):format(name, near and (", the nearest known one is '%s'"):format(near) or "")
end

local function check_fields(value, fields, path, report, is_list)
	for _, key in ipairs(sorted_keys(value)) do
		if fields[key] then
			check(value[key], fields[key], key_path(path, key), report)
		elseif not (is_list and math.type(key) == "integer" and key >= 1 and key <= #value) then
			report(key_path(path, key), unknown(fields, key), path)
		end
	end
	for _, key in ipairs(sorted_keys(fields)) do
		if fields[key].required and value[key] == nil then report(path, ("'%s' is missing"):format(key)) end
	end
end

local function check_list(value, shape, path, report)
	if #value > shape.max then report(path, ("has more than %d members"):format(shape.max)) end
	for i = 1, math.min(#value, shape.max) do check(value[i], shape.of, key_path(path, i), report) end
	check_fields(value, shape.with or {}, path, report, true)
end

-- The shape of `any` whose type fits, or the first one.
local function choose(value, shape)
	if not shape.any then return shape end
	for _, candidate in ipairs(shape.any) do
		if TYPES[candidate.type](value, candidate) then return candidate end
	end
	return shape.any[1]
end

function check(value, shape, path, report)
	local chosen = choose(value, shape)
	local ok, allowed = TYPES[chosen.type](value, chosen)
	if not ok then
		report(path, ("%s is not allowed: allowed is %s"):format(shown(value), shape.allowed or allowed))
		return
	end
	if chosen.type == "table" then check_fields(value, chosen.fields, path, report) end
	if chosen.type == "list" then check_list(value, chosen, path, report) end
	local wrong, where = nil, nil
	if chosen.check then wrong, where = chosen.check(value) end
	if wrong then report(path .. (where or ""), wrong) end
end

--- Checks a value.
-- @param value plain data
-- @param shape as above
-- @param report function(path, text), called for each of the first 100 mistakes: path of the member
--   (".rules[2].count"), and what is wrong, which names the member
function M.check(value, shape, report)
	local left = MAX_MISTAKES
	local ok, failure = pcall(check, value, shape, "", function(path, what, about)
		local name = (about or path):gsub("^%.", "")
		report(path, name ~= "" and name .. ": " .. what or what)
		left = left - 1
		if left == 0 then error(ENOUGH, 0) end
	end)
	if not ok and failure ~= ENOUGH then error(failure, 0) end
end

return M
