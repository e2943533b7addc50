--- How old a snapshot may be: one that is older than the retention of tombstones would bring deleted records back.

local M = {}

--- The time before which a manifest is too old.
-- @param newest_ms newest time of all manifests
-- @param retention_ms TOMBSTONE_RETENTION_MS; @param skew_ms MAX_CLOCK_SKEW_MS
function M.oldest(newest_ms, retention_ms, skew_ms)
	return newest_ms - retention_ms + skew_ms
end

return M
