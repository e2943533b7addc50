--- The contact with a peer that there is nothing to send to: an empty delta. Its verified response shows that the peer
-- answers, and which features it has. A peer that has announced that it speaks digests gets a shorter one, and replies
-- no more than that it is there. Existing nodes reply as to any delta.
--
-- Members with sessions are contacted every second interval: since both do so, they exchange one message an interval. A
-- peer's own messages are not enough: only its answers show that calls reach it. A call to one that has died fails
-- within two intervals, before its silence shows after three (kms.peers).

local native = require("kms_native")

local M = {}

local SECOND_MS = 1000
-- How old, in intervals, a peer's last answer is when it is contacted at a tick. An answer comes after the tick that
-- asked for it, so at the second tick from then on it is less than two intervals old.
local AGE, AGE_OF_OTHERS = 1.25, 0.5
-- Long intervals are not doubled: what a member says of its clock counts for 10 minutes (kms.node.clock_check).
local MAX_AGE_MS = 240000

--- Whether a peer that there is nothing to send to is to be contacted at a tick: it is out of its backoff, and has not
-- answered for long enough. Peers without sessions, and those that did not answer the last call, are contacted at every
-- tick.
-- @param exchange kms.sync.exchange; @param interval_s between two ticks; @param now monotonic ms
function M.is_due(exchange, peer, interval_s, now)
	if now < peer.retry_ms then return false end
	if not peer.answered_ms then return true end
	local interval_ms = interval_s * SECOND_MS
	local seldom = peer.reachable and exchange:uses_session(peer)
	local age_ms = seldom and math.min(AGE * interval_ms, MAX_AGE_MS) or AGE_OF_OTHERS * interval_ms
	return now - peer.answered_ms >= age_ms
end

--- Contacts a peer. Yields.
-- @param exchange kms.sync.exchange; @param writer of kms.sync.message; @param master secret in use
-- @param peers kms.peers
-- @return true: it has answered | nil, message, code of exchange:call
function M.call(exchange, peer, writer, master, peers)
	local is_short = peer.heard and peers:is_known(peer) and peers:understands(peer, "digest")
	local response, message, code = exchange:call(peer, function(proof)
		if is_short then return native.text_body(writer:contact(proof)) end
		local prefix, suffix = writer:delta(proof)
		return native.text_body(prefix .. "{}" .. suffix)
	end, { master = master })
	if not response then return nil, message, code end
	return true
end

return M
