-- What shows that a peer is alive, and that calls reach it.

local liveness = require("kms.peers.liveness")

local INTERVAL_MS = 10000
local OK_MS = 3 * INTERVAL_MS -- after its last answer
local CALLED_MS = 31000 -- after its last request

describe("the state of a peer", function()
	local peer

	before_each(function() peer = { failures = 0, retry_ms = 0 } end)

	local function state(now) return liveness.state(peer, now, INTERVAL_MS) end

	it("is unknown where there is no such peer, and before the first answer, whoever calls", function()
		assert.equal("unknown", liveness.state(nil, 0, INTERVAL_MS))
		assert.equal("unknown", state(0))
		liveness.has_called(peer, 5)
		assert.equal("unknown", state(5))
	end)

	it("is ok for three intervals from an answer", function()
		liveness.has_answered(peer, 5)
		assert.same({ "ok", "unknown" }, { state(5 + OK_MS - 1), state(5 + OK_MS) })
	end)

	-- A tick after a message may come just in time to see the next one missing, and the one after that calls.
	it("is ok for 3.1 intervals from a request of a peer that has answered the last call", function()
		liveness.has_answered(peer, 5)
		for now = 10005, 20005, 10000 do liveness.has_called(peer, now) end
		assert.equal(5, peer.answered_ms)
		assert.same({ "ok", "unknown" }, { state(20005 + CALLED_MS - 1), state(20005 + CALLED_MS) })
	end)

	-- No answer can come where this node does not serve, or may not call the peer's registered URL any more.
	it("is unknown six intervals after the last answer of a peer that calls, and is not called", function()
		liveness.has_answered(peer, 5)
		for now = 7, 3 * OK_MS, 1000 do liveness.has_called(peer, now) end
		assert.same({ "ok", "unknown" }, { state(5 + 2 * OK_MS - 1), state(5 + 2 * OK_MS) })
		liveness.has_answered(peer, 3 * OK_MS)
		assert.equal("ok", state(3 * OK_MS))
	end)

	it("is unknown three intervals after the last answer of a peer that calls, and refuses calls", function()
		liveness.has_answered(peer, 5)
		liveness.has_refused(peer)
		for now = 7, 3 * OK_MS, 1000 do liveness.has_called(peer, now) end
		assert.same({ "ok", "unknown" }, { state(5 + OK_MS - 1), state(5 + OK_MS) })
		liveness.has_answered(peer, 3 * OK_MS)
		liveness.has_called(peer, 4 * OK_MS - 1)
		assert.equal("ok", state(4 * OK_MS))
	end)

	it("is unreachable from a failed call on, also while it calls, and unknown once it refuses", function()
		liveness.has_answered(peer, 5)
		liveness.has_failed(peer)
		assert.same({ "unreachable", 1 }, { state(6), peer.failures })
		peer.retry_ms = 1000
		liveness.has_called(peer, 7)
		assert.same({ "unreachable", 0, 0 }, { state(7), peer.failures, peer.retry_ms })
		liveness.has_refused(peer)
		assert.equal("unknown", state(8))
		liveness.has_called(peer, 9)
		assert.equal("unknown", state(9))
		liveness.has_answered(peer, 10)
		assert.equal("ok", state(10))
	end)
end)
