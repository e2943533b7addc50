--- Text from outside, made fit for logs, messages and JSON.

local M = {}

local CUT_MARK = "..."

--- The text itself where it is valid UTF-8, else with \xNN for each byte beyond ASCII.
function M.utf8(text)
	if utf8.len(text) then return text end
	return (text:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

--- Cuts a text to at most `max` bytes (3 at least), never inside a UTF-8 character.
-- @return the text, marked with "..." at its end when it was cut; whether it was
function M.cut(text, max)
	if #text <= max then return text, false end
	local last = max - #CUT_MARK
	-- The byte after the cut tells: a continuation byte belongs to what would be torn.
	while last > 0 and (text:byte(last + 1) & 0xc0) == 0x80 do last = last - 1 end
	return text:sub(1, last) .. CUT_MARK, true
end

--- Hides what may be a key: runs of 64 and more hexadecimal digits.
function M.mask_keys(text)
	return (text:gsub("%x+", function(digits) return #digits >= 64 and "***" or nil end))
end

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape(c)
	return NAMED[c] or (c:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

--- The text in valid UTF-8 with control characters (C0, DEL and C1), quotes and backslashes
-- escaped, so that it stays on one line and commands no terminal.
function M.printable(text)
	return (M.utf8(text:gsub('[%c\127"\\]', escape)):gsub("\194[\128-\159]", escape))
end

return M
