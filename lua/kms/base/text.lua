--- Makes text from outside fit for logs, messages and JSON.

local M = {}

local CUT_MARK = "..."

--- Valid UTF-8: the text itself, or where it is not valid, with each byte beyond ASCII written as \xNN.
function M.utf8(text)
	if utf8.len(text) then return text end
	return (text:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

--- Cuts a text to at most `max` bytes (3 or more), never inside a UTF-8 character.
-- @return text, which ends in "..." when it was cut; whether it was cut
function M.cut(text, max)
	if #text <= max then return text, false end
	local last = max - #CUT_MARK
	-- A continuation byte after the cut belongs to a character that began before it.
	while last > 0 and (text:byte(last + 1) & 0xc0) == 0x80 do last = last - 1 end
	return text:sub(1, last) .. CUT_MARK, true
end

--- Masks what may be a key: runs of 64 or more hexadecimal digits.
function M.mask_keys(text)
	return (text:gsub("%x+", function(digits) return #digits >= 64 and "***" or nil end))
end

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }
local BEYOND_ASCII = "[\194-\244][\128-\191]+" -- one character of UTF-8

-- First and last of what has no picture of its own, and turns, hides or ends what stands beside it on a terminal: C1,
-- soft hyphen, marks of direction (UAX 9), joiners, separators, tags.
local HIDDEN = {
	{ 0x80, 0x9f }, { 0xad, 0xad }, { 0x61c, 0x61c }, { 0x180e, 0x180e }, { 0x200b, 0x200f }, { 0x2028, 0x202e },
	{ 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
}

local function is_hidden(character)
	local code = utf8.codepoint(character)
	for _, range in ipairs(HIDDEN) do
		if code >= range[1] and code <= range[2] then return code end
	end
	return nil
end

local function escape(c)
	return NAMED[c] or (c:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

local function escape_hidden(character)
	return is_hidden(character) and escape(character) or nil
end

--- Valid UTF-8 with control and format characters, quotes and backslashes escaped: it stays on one line and cannot
-- control a terminal, or turn round what stands there.
function M.printable(text)
	return (M.utf8(text:gsub('[%c\127"\\]', escape)):gsub(BEYOND_ASCII, escape_hidden))
end

-- A character as JSON writes it in ASCII: two surrogates beyond 16 bits.
local function json_escape(character)
	local code = is_hidden(character)
	if not code then return nil end
	if code < 0x10000 then return ("\\u%04x"):format(code) end
	code = code - 0x10000
	return ("\\u%04x\\u%04x"):format(0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff))
end

local function json_escape_byte(byte)
	return byte == "\r" and " " or ("\\u%04x"):format(byte:byte())
end

--- JSON that somebody else has written, fit for a terminal: control and format characters in its strings become
-- escapes, which say the same. What is not UTF-8 becomes Latin-1.
function M.printable_json(text)
	if not utf8.len(text) then text = text:gsub("[\128-\255]", json_escape_byte) end
	return (text:gsub("[%z\1-\8\11-\31\127]", json_escape_byte):gsub(BEYOND_ASCII, json_escape))
end

--- A number of things in words: "1 key", "2 keys".
-- @param n  number, or its text; 7.0, as JSON's readers and divisions give it, is 7
-- @param noun  one of them; @param plural  several of them (noun and "s")
function M.count(n, noun, plural)
	local whole = type(n) == "number" and math.tointeger(n) or n
	return ("%s %s"):format(whole, tonumber(n) == 1 and noun or plural or noun .. "s")
end

--- Percent-encodes all but unreserved characters (RFC 3986 section 2.3).
function M.percent_encode(text)
	return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- An excerpt to quote in a message: printable, cut to `max` bytes before it is escaped, keys masked.
function M.excerpt(text, max)
	return M.printable(M.cut(M.mask_keys(text), max))
end

return M
