--- The latest loads of the policies, for the operator: when, by what, and what came of each.

local text = require("kms.base.text")

local M = {}

local Changes = {}
Changes.__index = Changes

local MAX = 32 -- entries kept
local MAX_ERROR = 512 -- bytes

--- Adds a load. One with the same outcome as the one before takes its place, so that many of them push nothing out.
-- @param at_ms Unix time; @param by "start", "signal", "command" or "file"
-- @param outcome "in_force", "unchanged" or "refused"
-- @param hash of the set in force after it, or nil: none is; @param mistake the first one of a refused set, or nil
function Changes:add(at_ms, by, outcome, hash, mistake)
	local entry = {
		at_ms = at_ms, by = by, outcome = outcome, hash = hash, times = 1,
		error = mistake and text.excerpt(mistake, MAX_ERROR),
	}
	local last = self[#self]
	if last and outcome ~= "in_force" and last.outcome == outcome and last.by == by and last.error == entry.error then
		entry.times = last.times + 1
		self[#self] = entry
		return
	end
	table.insert(self, entry)
	if #self > MAX then table.remove(self, 1) end
end

--- @return an empty list, in which others may read: { at_ms, by, outcome, hash, error, times (how many in a row) }
function M.new()
	return setmetatable({}, Changes)
end

return M
