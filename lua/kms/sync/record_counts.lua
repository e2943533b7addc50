--- Sums, since the start, of what became of the records that peers sent.

local M = {}

local OUTCOMES = { "merged", "skipped", "rejected", "poisoned", "refused" }

--- Adds the counts of one message's records. A message counts records that did not decrypt (poisoned) and
-- records that a policy refused among the rejected ones; the sums do not.
-- @param sums table that the counts are added to
-- @param counts of message:apply
function M.add(sums, counts)
	for _, name in ipairs(OUTCOMES) do sums[name] = (sums[name] or 0) + (counts[name] or 0) end
	sums.rejected = sums.rejected - (counts.poisoned or 0) - (counts.refused or 0)
end

return M
