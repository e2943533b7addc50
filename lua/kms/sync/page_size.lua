--- How long a page with records for a peer may be. It is halved when the peer refuses a page as too large (HTTP 413; a
-- proxy on the way may do that, too) or when a page fails after a long time, since a link is slow. Once pages pass
-- quickly again, it grows to what it was before the link was slow.
--
-- `size` is a table of one peer, empty at first: bytes (the limit; nil: none), before (the limit before the link was
-- slow; nil: it is not), most (what would be sent without a limit).

local M = {}

local MIN_BYTES = 65536
local SLOW_MS, QUICK_MS = 10000, 5000 -- with the envelope, a page is twice as long on the way

--- The limit, where `most` bytes would be sent otherwise.
function M.limit(size, most)
	size.most = most
	return math.min(size.bytes or most, most)
end

--- Notes that a page failed.
-- @param took_ms how long that took; @param code why
function M.failed(size, took_ms, code)
	local is_slow = code ~= "ERR_TOO_LARGE"
	if not size.most or is_slow and took_ms < SLOW_MS then return end -- `most` is nil where no page was made
	local used = M.limit(size, size.most)
	if is_slow then size.before = size.before or used end
	size.bytes = math.min(used, math.max(used // 2, MIN_BYTES))
	if not is_slow then size.before = nil end
end

--- Notes that a page passed.
-- @param took_ms how long that took
function M.passed(size, took_ms)
	if not size.before or took_ms >= QUICK_MS then return end
	size.bytes = math.min(2 * size.bytes, size.before)
	if size.bytes == size.before then size.before = nil end
end

return M
