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

local function escape(c)
	return NAMED[c] or (c:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

--- Valid UTF-8 with control characters (C0, DEL and C1), quotes and backslashes escaped: it stays on one
-- line and cannot control a terminal.
function M.printable(text)
	return (M.utf8(text:gsub('[%c\127"\\]', escape)):gsub("\194[\128-\159]", escape))
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
