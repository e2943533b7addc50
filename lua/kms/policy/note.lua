--- A text that an operator gives as the reason of a command. It stands in logs and on terminals, so it may hold nothing
-- that ends a line, controls a terminal, or changes the order in which text is shown.

local M = {}

--- Most bytes.
M.MAX = 200

M.ALLOWED = ("allowed are 1 to %d bytes of UTF-8 without control characters"):format(M.MAX)

-- C0, DEL; C1; line and paragraph separators; marks and overrides of direction (Unicode's Bidi_Control); byte order
-- mark.
local REFUSED = {
	"[%c\127]", "\194[\128-\159]", "\226\128[\168\169]", "\216\156", "\226\128[\142\143]", "\226\128[\170-\174]",
	"\226\129[\166-\169]", "\239\187\191",
}

--- Checks one.
-- @param text or nil, which is allowed
-- @return true | nil, message
function M.check(text)
	if text == nil then return true end
	if #text < 1 or #text > M.MAX or not utf8.len(text) then return nil, M.ALLOWED end
	for _, pattern in ipairs(REFUSED) do
		if text:find(pattern) then return nil, M.ALLOWED end
	end
	return true
end

return M
