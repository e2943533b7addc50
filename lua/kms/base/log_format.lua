--- The two formats of a log line. Values are bounded and escaped, so that a line stays one line and
-- JSON stays valid whatever a value holds.

local cjson = require("cjson")
local text = require("kms.base.text")

local M = {}

local MAX_LINE = 4096 -- bytes, line feed included
local MAX_VALUE = 1024 -- bytes of one escaped value
local MAX_NAME = 64 -- bytes of a field's name
local FIRST = "request" -- field that is written before all others: a request's id

-- Names that a field cannot have.
local RESERVED = { time = true, level = true, event = true, cut = true }

-- Encodes a string in at most MAX_VALUE bytes; escapes can make it six times as long.
local function encode_bounded(value, encode)
	local limit = MAX_VALUE
	local encoded = encode((text.cut(value, limit)))
	while #encoded > MAX_VALUE do
		limit = limit // 2
		encoded = encode((text.cut(value, limit)))
	end
	return encoded
end

local function plain(value)
	local kind = type(value)
	if kind == "string" or kind == "boolean" or math.type(value) == "integer" then return value end
	-- Infinity and NaN are no JSON numbers.
	if kind == "number" then return value - value == 0 and value or ("%.14g"):format(value) end
	return "<" .. kind .. ">"
end

local function json_string(value)
	-- Most values need no escapes.
	if not value:find('[%c\127-\255"\\]') then return '"' .. value .. '"' end
	return cjson.encode(text.utf8(value))
end

local function encoded_plain(value)
	return math.type(value) == "float" and ("%.14g"):format(value) or tostring(value)
end

local function json_value(value)
	value = plain(value)
	return type(value) == "string" and encode_bounded(value, json_string) or encoded_plain(value)
end

local function quoted(value)
	if value:find("^[%w._:/@+-]+$") then return value end
	return '"' .. text.printable(value) .. '"'
end

local function text_value(value)
	value = plain(value)
	return type(value) == "string" and encode_bounded(value, quoted) or encoded_plain(value)
end

-- Each format: the start of a line, a field, the mark of a cut line, the end.
local FORMATS = {
	json = {
		head = function(time, level, event)
			return ('{"time":"%s","level":"%s","event":%s'):format(time, level, json_value(event))
		end,
		field = function(name, value) return "," .. json_string(name) .. ":" .. json_value(value) end,
		cut = ',"cut":true',
		tail = "}\n",
	},
	text = {
		head = function(time, level, event)
			return ("%s %-5s %s"):format(time, level:upper(), encode_bounded(tostring(plain(event)), text.printable))
		end,
		field = function(name, value) return " " .. quoted(name) .. "=" .. text_value(value) end,
		cut = " cut=true",
		tail = "\n",
	},
}

-- The sorted names and the values of the logger's fields and the event's; the event's win.
local function sorted_fields(own, given)
	local names, merged = {}, {}
	local function add(fields)
		for name, value in pairs(fields) do
			name = text.cut(tostring(name), MAX_NAME)
			if RESERVED[name] then name = "_" .. name end
			if merged[name] == nil and name ~= FIRST then names[#names + 1] = name end
			merged[name] = value
		end
	end
	add(own)
	add(given)
	table.sort(names)
	if merged[FIRST] ~= nil then table.insert(names, 1, FIRST) end
	return names, merged
end

--- Whether a format exists.
function M.exists(name)
	return FORMATS[name] ~= nil
end

--- Makes a line.
-- @param name  format: "json" or "text"
-- @param time  timestamp, text
-- @param level  name of the level
-- @param event  what happened, text
-- @param own, given  tables of fields; those of `given` win
-- @return line of at most 4096 bytes with its line feed; fields that do not fit are left out and the line
--   is marked with `cut`
function M.line(name, time, level, event, own, given)
	local format = FORMATS[name]
	local parts = { format.head(time, level, event) }
	local room = MAX_LINE - #parts[1] - #format.cut - #format.tail
	local names, values = sorted_fields(own, given)
	for _, field in ipairs(names) do
		local part = format.field(field, values[field])
		if #part > room then
			parts[#parts + 1] = format.cut
			break
		end
		parts[#parts + 1] = part
		room = room - #part
	end
	parts[#parts + 1] = format.tail
	return table.concat(parts)
end

return M
