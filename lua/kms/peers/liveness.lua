--- Whether a peer is alive, and whether calls reach it, from what passes between it and this node. Fields of a peer:
--   failures     calls in a row that failed; its own requests end the row
--   retry_ms     not called before
--   call_failed  whether the last call failed
--   reachable    true: it has answered, and no call has failed since; false: the last call failed; nil: neither
--   refuses      whether it has refused the last call
--   answered_ms  of its last answer
--   called_ms    of its last request that came while the last call stood answered
-- Moments are monotonic ms; a field is nil before the first.

local M = {}

-- How long a peer counts as ok, in intervals: after an answer, and after a message of its own. When no other message
-- follows, it is called 3.05 intervals later at the latest (kms.sync.contact), and its answer takes time.
local ANSWERED_WITHIN, CALLED_WITHIN = 3, 3.1
-- The same after an answer where messages follow it. A peer whose messages come is called after five intervals at most,
-- but not at all where this node does not serve, or the peer's URL is not one to call.
local ANSWERED_AT_ALL_WITHIN = 6

local function is_alive(peer)
	peer.failures, peer.retry_ms = 0, 0
end

--- Records an authentic request of a peer: it may be called at once. Whether calls reach it, only calls show.
function M.has_called(peer, now)
	is_alive(peer)
	peer.reachable = peer.reachable or nil
	if peer.reachable and not peer.refuses then peer.called_ms = now end
end

--- Records a refusal of a peer: it may be called at once, but only its verified responses show that it answers.
function M.has_refused(peer)
	is_alive(peer)
	peer.reachable, peer.refuses, peer.call_failed = peer.reachable or nil, true, nil
end

--- Records a verified response of a peer.
function M.has_answered(peer, now)
	is_alive(peer)
	peer.reachable, peer.refuses, peer.call_failed = true, nil, nil
	peer.answered_ms = now
end

--- Records that a peer could not be reached.
function M.has_failed(peer)
	peer.reachable, peer.call_failed = false, true
	peer.failures = peer.failures + 1
end

--- @param peer or nil
-- @param interval_ms between two syncs
-- @return "unreachable": the last call failed; "ok": it has answered within three intervals, or within six and called
--   within about three; "unknown"
function M.state(peer, now, interval_ms)
	if peer and peer.call_failed then return "unreachable" end
	if not peer or not peer.reachable then return "unknown" end
	local answered = (now - peer.answered_ms) / interval_ms
	if answered < ANSWERED_WITHIN then return "ok" end
	local called = peer.called_ms and (now - peer.called_ms) / interval_ms < CALLED_WITHIN
	return called and answered < ANSWERED_AT_ALL_WITHIN and "ok" or "unknown"
end

return M
