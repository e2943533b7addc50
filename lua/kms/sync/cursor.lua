--- What this node has pushed to a peer, dropped together with the peer. A cursor has
--   since    the last change that the peer has acknowledged
--   skipped  records not sent since they are too large for it
--   retries  pushes to repeat, oldest first: { since, due_ms }
--   life     how often the cursor was reset
--   lost     an existing node that could not be reached: it may come back with an empty store
--   running  a visit (kms.sync.visits) is planned or under way, since began_ms
--   failed   the last visit failed, with the code `failure`
--   page_bytes  limit of a page, once the peer has refused a larger one

local M = {}

local MAX_RETRIES = 16

function M.new()
	return { since = 0, skipped = 0, retries = {}, life = 0 }
end

--- Starts again from the first change: the peer has restarted, and is there again.
function M.reset(cursor)
	cursor.since, cursor.retries, cursor.lost, cursor.life = 0, {}, false, cursor.life + 1
	cursor.page_bytes, cursor.failed = nil, nil
end

--- Plans to repeat a push with records that lie in the future by the peer's clock: it accepts them later.
function M.retry_later(cursor, since, due_ms)
	if #cursor.retries == MAX_RETRIES then table.remove(cursor.retries, 1) end
	cursor.retries[#cursor.retries + 1] = { since = since, due_ms = due_ms }
end

return M
