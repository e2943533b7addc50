--- Formats rows as columns for a terminal.

local M = {}

--- @param rows  list of lists of texts, all of the same length
-- @return list of lines
function M.lines(rows)
	local widths, lines = {}, {}
	for _, cells in ipairs(rows) do
		for i, cell in ipairs(cells) do widths[i] = math.max(widths[i] or 0, #cell) end
	end
	for at, cells in ipairs(rows) do
		local parts = {}
		for i, cell in ipairs(cells) do parts[i] = i < #cells and cell .. (" "):rep(widths[i] - #cell) or cell end
		lines[at] = table.concat(parts, "  ")
	end
	return lines
end

return M
