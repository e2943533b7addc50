-- kms.sync.push: which changes go to whom, and what an answer means for the cursor of a peer.

local loop = require("kms.base.loop")
local pushers = require("spec.support.pusher")
local wait = require("spec.support.wait")

local OURS, EXISTING = pushers.OURS, pushers.EXISTING

describe("push", function()
	local t

	before_each(function() t = pushers.new() end)

	it("sends local changes to everybody, merged ones to existing nodes only, nothing back", function()
		t:change(0)
		t:change(1)
		t:change(2)
		t:change(7)
		t:tick()
		assert.same({ 1 }, t:pushed(OURS))
		assert.same({ 1, 2, 4 }, t:pushed(EXISTING))
		assert.equal(4, t.store.acknowledged)
	end)

	describe("counts as held by a peer", function()
		local function holds(sequence) return t.pusher:holds(t.peers.members[1], sequence - 1, sequence) end

		it("no change of a page of which the peer refused a record, until it has a new store", function()
			t.answers[OURS] = { counts = { total = 1, rejected = 1, later = 0 } }
			t:change(0)
			t:tick()
			assert.same({ 1, false }, { t.pusher:status().peers[OURS].acknowledged, holds(1) })
			t.answers[OURS] = nil
			t:change(0)
			t:tick()
			assert.same({ false, true }, { holds(1), holds(2) })
			t.pusher:started_anew(t.peers.members[1])
			t:tick()
			assert.same({ true, true }, { holds(1), holds(2) })
		end)

		it("no record that is too large for it, alone or beside others", function()
			t:change(0, 1 << 40)
			t:tick()
			assert.is_false(holds(1))
			t:change(0)
			t:change(0, 1 << 40)
			t:tick()
			assert.is_false(holds(3))
			t:change(0)
			t:tick()
			assert.same({ false, false, true }, { holds(1), holds(3), holds(4) })
		end)
	end)

	it("sends each change once", function()
		for _ = 1, 3 do
			t:change(0)
			t:tick()
			t:tick()
		end
		assert.same({ 1, 2, 3 }, t:pushed(OURS))
	end)

	it("sends again what was not acknowledged, and does not count it as acknowledged", function()
		t:change(0)
		t.answers[OURS] = { after = { nil, "forged", "ERR_UNVERIFIED" } }
		t:tick()
		assert.equal(0, t.store.acknowledged)
		assert.equal(0, t.pusher:status().peers[OURS].acknowledged)
		t.answers[OURS] = nil
		t:change(0)
		t:tick()
		assert.same({ 1, 2 }, t:pushed(OURS))
		assert.equal(2, t.store.acknowledged)
	end)

	it("goes on with the others while one waits, and asks that one again after its backoff", function()
		t:change(0)
		t.peers.members[1].retry_ms = t.now + 5000
		t:tick()
		assert.same({}, t:pushed(OURS))
		assert.same({ 1 }, t:pushed(EXISTING))
		t.now = t.now + 5000
		t:tick()
		assert.same({ 1 }, t:pushed(OURS))
	end)

	it("pushes nothing while this node does not serve, nor to banned peers", function()
		t:change(0)
		t.ready = false
		t:tick()
		t.ready, t.peers.members[1].banned = true, true
		t:tick()
		assert.same({}, t:pushed(OURS))
		assert.same({ 1 }, t:pushed(EXISTING))
	end)

	it("passes over, counts and reports what no body to a peer can hold", function()
		t:change(0, 1044481)
		t:change(0, 1044480)
		t:tick()
		assert.same({ 1, 2 }, t:pushed(OURS))
		assert.same({ 2 }, t:pushed(EXISTING))
		assert.equal(1, t.pusher:status().peers[EXISTING].skipped)
		assert.equal(2, t.store.acknowledged)
	end)

	it("greets a peer that it never heard, to learn its features before it sends records", function()
		local stranger = t.peers.members[1]
		stranger.heard, stranger.features = false, {}
		t:change(0, 2000000)
		t.answers[OURS] = nil
		local exchanges = t.pusher.pages.exchange
		local call = exchanges.call
		function exchanges.call(self, peer, build, options)
			if peer == stranger then peer.features = { store = true } end
			return call(self, peer, build, options)
		end
		t:tick()
		assert.same({ 1 }, t:pushed(OURS))
		assert.same({ 0, 1 }, { #t:calls_of(OURS)[1].numbers, #t:calls_of(OURS)[2].numbers })
	end)

	it("starts from the first change with a peer that has restarted", function()
		t:change(0)
		t:change(0)
		t:tick()
		t.pusher:started_anew(t.peers.members[1])
		assert.equal(0, t.pusher:status().peers[OURS].acknowledged)
		t:tick()
		assert.same({ 1, 2, 1, 2 }, t:pushed(OURS))
	end)

	it("sends a push again whose answer comes from a new life of the peer", function()
		t:change(0)
		t:tick()
		t:change(0)
		t.answers[OURS] = { anew = true }
		t:tick()
		assert.same({ 1, 2 }, t:pushed(OURS))
		t.answers[OURS] = nil
		t:tick()
		assert.same({ 1, 2, 1, 2 }, t:pushed(OURS))
	end)

	it("starts again when a peer restarts while changes that are not for it are skipped", function()
		t:change(0)
		t:tick()
		t:change(7)
		local delta = t.store.delta
		function t.store.delta(...)
			t.store.delta = delta
			t.pusher:started_anew(t.peers.members[1])
			return delta(...)
		end
		t:tick()
		t:tick()
		assert.same({ 1, 1 }, t:pushed(OURS))
	end)

	it("pushes once a tick to a peer that claims a new store each time", function()
		t:change(0)
		t.answers[OURS] = { anew = true }
		for _ = 1, 3 do t:tick() end
		assert.same({ 1, 1, 1 }, t:pushed(OURS))
		assert.equal(0, t.pusher:status().peers[OURS].acknowledged)
	end)

	it("starts from the first change when the response to a repeated push names a new store", function()
		t:change(0)
		t:change(0)
		t.answers[OURS] = { counts = { total = 2, rejected = 1, later = 1 } }
		t:tick()
		t.answers[OURS] = { anew = true }
		t.now = t.now + 16000
		t:tick()
		t.answers[OURS] = nil
		t:tick()
		assert.same({ 1, 2, 1, 2, 1, 2 }, t:pushed(OURS))
	end)

	it("remembers nothing of a peer that was forgotten", function()
		t:change(0)
		t:tick()
		t.peers.members[1] = pushers.peer(OURS, 3)
		t.peers.members[1].features = { store = true }
		t:tick()
		assert.same({ 1, 1 }, t:pushed(OURS))
	end)

	it("starts from the first change with an existing node that was gone", function()
		t:change(0)
		t:tick()
		t:change(0)
		t.answers[EXISTING] = { before = { nil, "refused", "ERR_CONNECT" } }
		t:tick()
		t.answers[EXISTING] = nil
		t:tick()
		assert.same({ 1, 1, 2 }, t:pushed(EXISTING))
		t:change(0)
		t.answers[EXISTING] = { before = { nil, "slow", "ERR_TIMEOUT" } }
		t:tick()
		t.answers[EXISTING] = nil
		t:tick()
		assert.same({ 1, 1, 2, 3 }, t:pushed(EXISTING))
	end)

	it("does not send again what was rejected for good", function()
		t:change(0)
		t.answers[OURS] = { counts = { total = 1, rejected = 1, later = 0 } }
		t:tick()
		t.now = t.now + 60000
		t:tick()
		assert.same({ 1 }, t:pushed(OURS))
	end)

	it("follows order, parallel and max_records", function()
		local function wallets()
			local list = {}
			for _, call in ipairs(t.calls) do
				if #call.numbers > 0 then list[#list + 1] = call.wallet end
			end
			return list
		end
		t:change(0)
		t.order = function(list) return { list[2], list[1] } end
		t:tick()
		assert.same({ EXISTING, OURS }, wallets())
		t:change(0)
		t.order = function(list) return { list[2] } end
		t:tick()
		assert.same({ EXISTING, OURS, EXISTING }, wallets())
		assert.equal(1, t.store.acknowledged)
		t.order, t.settings.parallel = nil, 1
		t:change(0)
		local exchanges, most, running = t.pusher.pages.exchange, 0, 0
		local call = exchanges.call
		function exchanges.call(...)
			running = running + 1
			most = math.max(most, running)
			loop.sleep(1)
			running = running - 1
			return call(...)
		end
		for _ = 1, 2 do
			t:tick()
			wait.until_true("the pushes to end", function() return running == 0 and t.pusher.visits.running == 0 end)
		end
		assert.equal(1, most)
		assert.same({ 1, 2, 3 }, t:pushed(OURS))
		t.settings.max_records = 1
		local before = #t:calls_of(OURS)
		for _ = 1, 3 do t:change(0) end
		t:tick()
		wait.until_true("the pushes to end", function() return t.pusher.visits.running == 0 end)
		assert.equal(before + 3, #t:calls_of(OURS))
	end)

	it("sends shorter pages to a peer whose limit is lower, and skips nothing for that", function()
		for _ = 1, 8 do t:change(0, 500000) end
		local exchanges, longest = t.pusher.pages.exchange, 0
		local call = exchanges.call
		function exchanges.call(self, peer, build, options)
			if peer.wallet ~= OURS then return call(self, peer, build, options) end
			local page = build("0xsignature")
			if page.numbers and #page.numbers * 500000 > 1000000 then return nil, "refused with HTTP 413", "ERR_TOO_LARGE" end
			longest = math.max(longest, #(page.numbers or {}))
			return call(self, peer, function() return page end, options)
		end
		for _ = 1, 4 do t:tick() end
		assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, t:pushed(OURS))
		assert.equal(2, longest)
		assert.equal(0, t.pusher:status().peers[OURS].skipped)
	end)

	-- 150 kB/s: "20 MiB sent in 150 s, nothing applied". A page is twice as long on the way.
	it("gets a backlog of 10 MB through a slow link with shorter pages, which grow again", function()
		for _ = 1, 100 do t:change(0, 100000) end
		local exchanges, rate, longest = t.pusher.pages.exchange, 150, 0 -- bytes a millisecond
		local call = exchanges.call
		function exchanges.call(self, peer, build, options)
			if peer.wallet ~= OURS then return call(self, peer, build, options) end
			local page = build("0xsignature")
			local took_ms = 2 * 100000 * #(page.numbers or {}) // rate
			t.now = t.now + math.min(took_ms, options.timeout_ms or 0)
			if took_ms > 30000 then return nil, "no reply in time", "ERR_TIMEOUT" end
			longest = math.max(longest, #(page.numbers or {}))
			return call(self, peer, function() return page end, options)
		end
		for _ = 1, 4 do t:tick() end
		assert.equal(100, #t:pushed(OURS))
		assert.is_true(longest <= 22, longest)
		rate = 100000
		for _ = 1, 200 do t:change(0, 100000) end
		for _ = 1, 4 do t:tick() end
		assert.equal(300, #t:pushed(OURS))
		assert.equal((4 << 20) // 100000, longest)
	end)

	it("goes on after a call that failed late, during which the peer was found to have restarted", function()
		t:change(0)
		t.answers[OURS] = { before = { nil, "no reply in time", "ERR_TIMEOUT" } }
		local call = t.pusher.pages.exchange.call
		t.pusher.pages.exchange.call = function(self, peer, ...)
			t.now = t.now + 20000
			if t.answers[OURS] and peer.wallet == OURS then t.pusher:started_anew(peer) end
			return call(self, peer, ...)
		end
		t:tick()
		assert.equal(1, t.pusher.counts.failures)
		t.answers[OURS] = nil
		t:tick()
		assert.same({ 1 }, t:pushed(OURS))
	end)

	it("counts everything as acknowledged when there is no other member", function()
		t.peers.members = {}
		t:change(0)
		t:tick()
		assert.is_nil(t.store.acknowledged)
	end)
end)
