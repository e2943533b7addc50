-- What kms.sync.push does for a peer that there is nothing to send to, and when slots are short.

local pushers = require("spec.support.pusher")

local OURS, EXISTING = pushers.OURS, pushers.EXISTING

describe("push with nothing to send", function()
	local t

	before_each(function() t = pushers.new() end)

	it("contacts peers without sessions once an interval, with an empty delta", function()
		for _ = 1, 3 do t:pass(10000) end
		assert.equal(3, #t:calls_of(OURS))
		assert.equal(3, #t:calls_of(EXISTING))
		for _, call in ipairs(t.calls) do assert.same({}, call.numbers) end
		assert.equal(0, t.pusher.counts.pushes)
	end)

	it("does not contact a peer that has just answered, nor one before its backoff", function()
		t:pass(10000)
		t:pass(4999)
		assert.equal(1, #t:calls_of(OURS))
		t:pass(1)
		assert.equal(2, #t:calls_of(OURS))
		t.peers.members[1].retry_ms = t.now + 20000
		t:pass(19999)
		assert.equal(2, #t:calls_of(OURS))
		t:pass(1)
		assert.equal(3, #t:calls_of(OURS))
	end)

	it("contacts a member with sessions every second interval", function()
		t.peers.members[1].features.session = true
		for i = 1, 6 do
			t:pass(10000)
			assert.same({ (i + 1) // 2, i }, { #t:calls_of(OURS), #t:calls_of(EXISTING) })
		end
	end)

	it("contacts it an interval earlier, once, where its last answer came at an odd one", function()
		t.peers.members[1].features.session = true
		t.ahead_ms = t.ahead_ms + 10000
		for i, contacts in ipairs({ 1, 2, 2, 3, 3, 4 }) do
			t:pass(10000)
			assert.same({ i, contacts }, { i, #t:calls_of(OURS) })
		end
	end)

	-- Of two clocks, the ticks of one may come just before a full interval of the other.
	it("takes the interval that begins nearest to a tick", function()
		t.peers.members[1].features.session = true
		t:pass(10000)
		for _, case in ipairs({ { -5001, 0 }, { -5000, 1 }, { 4999, 1 }, { 5000, 0 } }) do
			local off_ms, contacts = table.unpack(case)
			t.peers.members[1].answered_ms = t.now
			t.ahead_ms = off_ms - (t.now + 10000) -- the next tick is so far off the even interval that begins at 0
			local before = #t:calls_of(OURS)
			t:pass(10000)
			assert.same({ off_ms, contacts }, { off_ms, #t:calls_of(OURS) - before })
		end
	end)

	describe("and a member with sessions and the lower wallet", function()
		local peer

		before_each(function()
			peer = t.peers.members[1]
			peer.features.session, peer.asks_first = true, true
		end)

		-- Lets so many intervals pass, with a message of the peer every second one. Returns how often it was contacted.
		local function contacts(intervals)
			local before = #t:calls_of(OURS)
			for i = 1, intervals do
				if i % 2 == 1 then peer.called_ms = t.now + 10000 end
				t:pass(10000)
			end
			return #t:calls_of(OURS) - before
		end

		-- A tick when the last answer is so many milliseconds old, and a message has just come. Returns the contacts so far.
		local function contacts_at(age_ms, is_even)
			t.now = peer.answered_ms + age_ms
			t.ahead_ms = (is_even and 20000 or 10000) - t.now
			peer.called_ms = t.now
			t:tick()
			return #t:calls_of(OURS)
		end

		it("contacts it every fourth interval while its messages come", function()
			t:pass(10000)
			for _, case in ipairs({ { 3, 0 }, { 1, 1 }, { 3, 0 }, { 1, 1 }, { 20, 5 } }) do
				local intervals, calls = table.unpack(case)
				assert.same({ intervals, calls }, { intervals, contacts(intervals) })
			end
		end)

		it("contacts it when its last answer is 4.25 intervals old, 3.75 at an even one, and not before", function()
			t:pass(10000)
			assert.same({ 1, 2 }, { contacts_at(42499), contacts_at(42500) })
			assert.same({ 2, 3 }, { contacts_at(37499, true), contacts_at(37500, true) })
		end)

		it("contacts it when its last message is 2.05 intervals old, and not before", function()
			t:pass(10000)
			peer.called_ms = t.now
			t:pass(20499)
			assert.equal(1, #t:calls_of(OURS))
			t:pass(1)
			assert.equal(2, #t:calls_of(OURS))
		end)

		it("contacts it every second interval without its messages", function()
			for i = 1, 6 do
				t:pass(10000)
				assert.equal((i + 1) // 2, #t:calls_of(OURS))
			end
		end)

		it("contacts it after four minutes at the latest, so that its time is known", function()
			t.settings.interval = 100
			t:pass(100000)
			assert.same({ 1, 2 }, { contacts_at(239999), contacts_at(240000) })
		end)
	end)

	it("contacts it at every interval from four minutes on, so that its time is known", function()
		t.peers.members[1].features.session = true
		for _, case in ipairs({ { 239, 2 }, { 241, 4 }, { 3600, 4 } }) do
			local interval_s, calls = table.unpack(case)
			t.settings.interval = interval_s
			t:pass(2 * interval_s * 1000)
			local before = #t:calls_of(OURS)
			for _ = 1, 4 do t:pass(interval_s * 1000) end
			assert.same({ interval_s, calls }, { interval_s, #t:calls_of(OURS) - before })
		end
	end)

	it("takes it that a tick may be late by a quarter of an interval, and an answer come after three", function()
		local peer = t.peers.members[1]
		peer.features.session = true
		t:pass(10000)
		t:pass(12499)
		assert.equal(1, #t:calls_of(OURS))
		t:pass(1)
		assert.equal(2, #t:calls_of(OURS))
		peer.answered_ms = t.now + 7500
		t:pass(20000)
		assert.equal(3, #t:calls_of(OURS))
	end)

	-- What it sends meanwhile shows that it is alive, not that calls reach it.
	it("contacts it at every tick from a failed call to the next answer, also while its own messages come", function()
		local peer = t.peers.members[1]
		peer.features.session = true
		t:pass(10000)
		for _, reachable in ipairs({ false, nil }) do
			peer.reachable = reachable
			t.answers[OURS] = { after = { nil, "timed out", "ERR_TIMEOUT" } }
			local before = #t:calls_of(OURS)
			for _ = 1, 3 do
				t:pass(10000)
				peer.reachable = reachable
			end
			assert.equal(before + 3, #t:calls_of(OURS))
			t.answers[OURS] = nil
			t:pass(10000)
			assert.equal(before + 4, #t:calls_of(OURS))
			t:pass(10000)
			assert.equal(before + 4, #t:calls_of(OURS))
		end
	end)

	it("compares with one peer instead, and contacts the others", function()
		local compared = 0
		t:pass(10000, function()
			compared = compared + 1
			return t.peers.members[1]
		end)
		assert.same({ 1, 0, 1 }, { compared, #t:calls_of(OURS), #t:calls_of(EXISTING) })
		t:pass(10000, function() return nil end) -- it cannot compare now
		assert.same({ 1, 2 }, { #t:calls_of(OURS), #t:calls_of(EXISTING) })
	end)

	it("does not compare while a push is under way, which would move the same records", function()
		t:change(0)
		t.answers[OURS] = { hangs = true }
		t:pass(10000, function() error("compared") end)
		t:pass(10000, function() error("compared") end)
		assert.same({ 1 }, t:pushed(EXISTING))
	end)

	it("contacts a peer that a policy leaves out, and sends it nothing", function()
		t.order = function() return {} end
		t:change(0)
		t:pass(10000)
		assert.equal(1, #t:calls_of(OURS))
		assert.same({}, t:pushed(OURS))
	end)

	it("contacts a peer whose own changes are the only ones", function()
		for _ = 1, 3 do
			t:change(1)
			t:pass(10000)
		end
		assert.equal(3, #t:calls_of(OURS))
		assert.same({}, t:pushed(OURS))
	end)

	it("contacts nobody while this node does not serve, nor banned peers", function()
		t.ready = false
		t:pass(10000)
		t.ready, t.peers.members[1].banned = true, true
		t:pass(10000)
		assert.same({ 0, 1 }, { #t:calls_of(OURS), #t:calls_of(EXISTING) })
	end)

	it("pushes everything to a peer whose answer says that it has restarted", function()
		t:change(0)
		t:pass(10000)
		t.answers[OURS] = { anew = true }
		t:pass(10000)
		t.answers[OURS] = nil
		t:pass(10000)
		assert.same({ 1, 1, 1 }, t:pushed(OURS))
	end)

	it("notes a peer that does not answer, counts no failed push, and goes on when it answers", function()
		t.answers[OURS] = { before = { nil, "timed out", "ERR_TIMEOUT" } }
		t:pass(10000)
		assert.equal(0, t.pusher.counts.failures)
		assert.same({}, t:calls_of(OURS))
		t.answers[OURS] = nil
		t:pass(10000)
		t:change(0)
		t:tick()
		assert.same({ 1 }, t:pushed(OURS))
	end)
end)

describe("push with one slot", function()
	it("reaches every peer, each in its turn", function()
		local t = pushers.new()
		t.settings.parallel = 1
		for i = 3, 300 do
			t.peers.members[i] = pushers.peer(("0x%040x"):format(i), i)
			t.peers.members[i].features = { store = true }
		end
		t:change(0)
		t:tick()
		for _, peer in ipairs(t.peers.members) do assert.same({ 1 }, t:pushed(peer.wallet)) end
	end)
end)
