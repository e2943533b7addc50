--- The contact with a peer that there is nothing to send to: an empty delta. Its verified response shows that the peer
-- answers, and which features it has. A peer that has announced that it speaks digests gets a shorter one, and replies
-- no more than that it is there. Existing nodes reply as to any delta.
--
-- Of two members with sessions the one with the lower wallet asks the other every second interval. While its messages
-- come, the other asks it every fourth, since only answers show that calls reach it; without them every second. So a
-- call to one that has died fails within three intervals, before its silence shows (kms.peers.liveness). After four of
-- ten seconds the connection for it is still open (IDLE_TIMEOUT_SECONDS). All do so at the intervals that are even in
-- Unix time: a member wakes for its contacts with all others together, and does next to nothing at the odd ones.

local native = require("kms_native")

local M = {}

local SECOND_MS = 1000
-- How old, in intervals, a peer's last answer is when it is contacted at a tick. An answer comes after the tick that
-- asked for it, so at the second tick from then on it is less than two intervals old.
local AGE, AGE_WHILE_IT_ASKS, AGE_OF_OTHERS = 1.25, 4.25, 0.5
-- So many intervals less at an even one: who has answered at an odd one is contacted an interval earlier, once.
local LESS_WHEN_EVEN = 0.5
-- Intervals since the last message of a peer that asks, until it counts as silent: one that comes every second interval
-- may come when this node's tick has just passed. A needless contact does no harm.
local ASKED_WITHIN = 2.05
-- Long intervals are not multiplied: what a member says of its clock counts for 10 minutes (kms.node.clock_check).
local MAX_AGE_MS = 240000

-- Whether the interval that begins nearest to now is an even one.
local function is_even(interval_ms, wall_ms)
	return math.floor(wall_ms / interval_ms + 0.5) % 2 == 0
end

-- How old the last answer of a peer may be.
local function allowed_age_ms(exchange, peer, interval_ms, now)
	if not peer.reachable or not exchange:uses_session(peer) then return AGE_OF_OTHERS * interval_ms end
	local asks = peer.asks_first and peer.called_ms and now - peer.called_ms < ASKED_WITHIN * interval_ms
	local age = asks and AGE_WHILE_IT_ASKS or AGE
	if is_even(interval_ms, exchange.wall_ms()) then age = age - LESS_WHEN_EVEN end
	return math.min(age * interval_ms, MAX_AGE_MS)
end

--- Whether a peer that there is nothing to send to is to be contacted at a tick: it is out of its backoff, and has not
-- answered for long enough. Peers without sessions, and those that did not answer the last call, are contacted at every
-- tick.
-- @param exchange kms.sync.exchange; @param interval_s between two ticks; @param now monotonic ms
function M.is_due(exchange, peer, interval_s, now)
	if now < peer.retry_ms then return false end
	if not peer.answered_ms then return true end
	return now - peer.answered_ms >= allowed_age_ms(exchange, peer, interval_s * SECOND_MS, now)
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
