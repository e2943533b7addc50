--- What this node has pushed to a peer, dropped together with the peer. A cursor has
--   since    the last change that the peer has acknowledged
--   skipped  records not sent since they are too large for it
--   behind   what of the changes before it has not taken yet (kms.sync.behind)
--   refused  range of changes in which the peer refused records or was not sent them (kms.sync.behind)
--   life     how often the cursor was reset
--   lost     an existing node that could not be reached: it may come back with an empty store
--   running  a visit (kms.sync.visits) is planned or under way, since began_ms
--   failed   the last visit failed, with the code `failure`
--   size     of pages (kms.sync.page_size)

local M = {}

function M.new()
	return { since = 0, skipped = 0, life = 0, size = {} }
end

--- Starts again from the first change: the peer has restarted, and is there again.
function M.reset(cursor)
	cursor.since, cursor.behind, cursor.lost, cursor.life = 0, nil, false, cursor.life + 1
	cursor.size, cursor.failed, cursor.refused = {}, nil, nil
end

return M
