local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local push = require("kms.sync.push")
local wait = require("spec.support.wait")

local OURS, EXISTING = "0x" .. ("a"):rep(40), "0x" .. ("b"):rep(40)

-- A store of numbered changes { from = number of a peer, 0: local; size }.
local function fake_store()
	local store = { changes = {} }
	function store:sequence() return #self.changes end
	function store:set_acknowledged(sequence) self.acknowledged = sequence end
	function store:delta(o)
		local sent, skipped, through, bytes = {}, 0, o.since, 0
		for i = o.since + 1, #self.changes do
			local change = self.changes[i]
			local wanted = change.from ~= o.except and (change.from == 0 or not o.local_only)
			if wanted and change.size > o.max_record_bytes then
				skipped = skipped + 1
			elseif wanted then
				if #sent == o.max_records or (#sent > 0 and bytes + change.size > o.max_bytes) then break end
				sent[#sent + 1], bytes = i, bytes + change.size
			end
			through = i
		end
		if #sent == 0 then return false, through, 0, skipped end
		return { numbers = sent, close = function() end }, through, #sent, skipped
	end
	return store
end

describe("push", function()
	local store, peers, calls, now, pusher, answers, ready, order, settings

	local function peer_of(wallet, number)
		return { wallet = wallet, number = number, retry_ms = 0, heard = true, features = {} }
	end

	local function run(fn)
		loop.spawn(fn)
		require("luv").run("nowait")
	end

	local function tick()
		run(function() pusher:tick() end)
	end

	-- Numbers that were pushed to a wallet and acknowledged, in order.
	local function pushed(wallet)
		local list = {}
		for _, call in ipairs(calls) do
			if call.wallet == wallet and call.ok then table.move(call.numbers, 1, #call.numbers, #list + 1, list) end
		end
		return list
	end

	before_each(function()
		store, calls, now, ready = fake_store(), {}, 1000, true
		answers, order = {}, nil
		settings = { max_records = 5000, max_bytes = 4 << 20, parallel = 64 }
		local ours, existing = peer_of(OURS, 1), peer_of(EXISTING, 2)
		ours.features = { store = true }
		peers = { members = { ours, existing } }
		function peers:others() return self.members end
		function peers.understands(_, peer, feature) return peer.features[feature] == true end
		function peers.is_known(_, peer) return peer.heard end
		function peers.callable(_, peer) return not peer.banned end
		function peers.state() return "ok" end
		local exchanges = {}
		function exchanges.call(_, peer, build)
			local fault = answers[peer.wallet]
			if fault and fault.before then return table.unpack(fault.before) end
			local page, text, code = build("0xsignature")
			if not page then return nil, text, code end
			local numbers = type(page) == "table" and page.numbers or {}
			local call = { wallet = peer.wallet, numbers = numbers, ok = not (fault and fault.after) }
			calls[#calls + 1] = call
			peer.heard = true
			if fault and fault.after then return table.unpack(fault.after) end
			local counts = fault and fault.counts or { total = #call.numbers, rejected = 0, future = 0 }
			if fault and fault.anew then pusher:started_anew(peer) end
			return { counts = function() return counts end }
		end
		local function quiet() end
		pusher = push.new({
			exchange = exchanges, writer = message.writer({ address = "0x1" }, ("0"):rep(32)), peers = peers, store = store,
			log = { limited = quiet, warn = quiet, debug = quiet }, mono_ms = function() return now end,
			secret = function() end, is_ready = function() return ready end, max_body_bytes = 52428800, skew_ms = 15000,
			order = function(list) return order and order(list) or list end, settings = function() return settings end,
		})
	end)

	local function change(from, size)
		store.changes[#store.changes + 1] = { from = from or 0, size = size or 100 }
	end

	it("sends local changes to everybody, merged ones to existing nodes only, nothing back", function()
		change(0)
		change(1)
		change(2)
		change(7)
		tick()
		assert.same({ 1 }, pushed(OURS))
		assert.same({ 1, 2, 4 }, pushed(EXISTING))
		assert.equal(4, store.acknowledged)
	end)

	it("sends each change once", function()
		for _ = 1, 3 do
			change(0)
			tick()
			tick()
		end
		assert.same({ 1, 2, 3 }, pushed(OURS))
	end)

	it("sends again what was not acknowledged, and does not count it as acknowledged", function()
		change(0)
		answers[OURS] = { after = { nil, "forged", "ERR_UNVERIFIED" } }
		tick()
		assert.equal(0, store.acknowledged)
		assert.equal(0, pusher:status().peers[OURS].acknowledged)
		answers[OURS] = nil
		change(0)
		tick()
		assert.same({ 1, 2 }, pushed(OURS))
		assert.equal(2, store.acknowledged)
	end)

	it("goes on with the others while one waits, and asks that one again after its backoff", function()
		change(0)
		peers.members[1].retry_ms = now + 5000
		tick()
		assert.same({}, pushed(OURS))
		assert.same({ 1 }, pushed(EXISTING))
		now = now + 5000
		tick()
		assert.same({ 1 }, pushed(OURS))
	end)

	it("pushes nothing while this node does not serve, nor to banned peers", function()
		change(0)
		ready = false
		tick()
		ready, peers.members[1].banned = true, true
		tick()
		assert.same({}, pushed(OURS))
		assert.same({ 1 }, pushed(EXISTING))
	end)

	it("passes over, counts and reports what no body to a peer can hold", function()
		change(0, 1044481)
		change(0, 1044480)
		tick()
		assert.same({ 1, 2 }, pushed(OURS))
		assert.same({ 2 }, pushed(EXISTING))
		assert.equal(1, pusher:status().peers[EXISTING].skipped)
		assert.equal(2, store.acknowledged)
	end)

	it("greets a peer that it never heard, to learn its features before it sends records", function()
		local stranger = peers.members[1]
		stranger.heard, stranger.features = false, {}
		change(0, 2000000)
		answers[OURS] = nil
		local exchanges = pusher.pages.exchange
		local call = exchanges.call
		function exchanges.call(self, peer, build, options)
			if peer == stranger then peer.features = { store = true } end
			return call(self, peer, build, options)
		end
		tick()
		assert.same({ 1 }, pushed(OURS))
		assert.equal(2, #calls - #pushed(EXISTING))
	end)

	it("starts from the first change with a peer that has restarted", function()
		change(0)
		change(0)
		tick()
		pusher:started_anew(peers.members[1])
		assert.equal(0, pusher:status().peers[OURS].acknowledged)
		tick()
		assert.same({ 1, 2, 1, 2 }, pushed(OURS))
	end)

	it("sends a push again whose answer comes from a new life of the peer", function()
		change(0)
		tick()
		change(0)
		answers[OURS] = { anew = true }
		tick()
		assert.same({ 1, 2 }, pushed(OURS))
		answers[OURS] = nil
		tick()
		assert.same({ 1, 2, 1, 2 }, pushed(OURS))
	end)

	it("starts again when a peer restarts while changes that are not for it are skipped", function()
		change(0)
		tick()
		change(7)
		local delta = store.delta
		function store.delta(...)
			store.delta = delta
			pusher:started_anew(peers.members[1])
			return delta(...)
		end
		tick()
		tick()
		assert.same({ 1, 1 }, pushed(OURS))
	end)

	it("pushes once a tick to a peer that claims a new store each time", function()
		change(0)
		answers[OURS] = { anew = true }
		for _ = 1, 3 do tick() end
		assert.same({ 1, 1, 1 }, pushed(OURS))
		assert.equal(0, pusher:status().peers[OURS].acknowledged)
	end)

	it("starts from the first change when the response to a repeated push names a new store", function()
		change(0)
		change(0)
		answers[OURS] = { counts = { total = 2, rejected = 1, future = 1 } }
		tick()
		answers[OURS] = { anew = true }
		now = now + 16000
		tick()
		answers[OURS] = nil
		tick()
		assert.same({ 1, 2, 1, 2, 1, 2 }, pushed(OURS))
	end)

	it("remembers nothing of a peer that was forgotten", function()
		change(0)
		tick()
		peers.members[1] = peer_of(OURS, 3)
		peers.members[1].features = { store = true }
		tick()
		assert.same({ 1, 1 }, pushed(OURS))
	end)

	it("starts from the first change with an existing node that was gone", function()
		change(0)
		tick()
		change(0)
		answers[EXISTING] = { before = { nil, "refused", "ERR_CONNECT" } }
		tick()
		answers[EXISTING] = nil
		tick()
		assert.same({ 1, 1, 2 }, pushed(EXISTING))
		change(0)
		answers[EXISTING] = { before = { nil, "slow", "ERR_TIMEOUT" } }
		tick()
		answers[EXISTING] = nil
		tick()
		assert.same({ 1, 1, 2, 3 }, pushed(EXISTING))
	end)

	it("takes a rejection for an acknowledgement, and sends what was stamped in the future once more", function()
		change(0)
		answers[OURS] = { counts = { total = 1, rejected = 1, future = 1 } }
		answers[EXISTING] = { counts = { total = 1, rejected = 1 } } -- it does not say why
		tick()
		answers = {}
		assert.equal(1, store.acknowledged)
		now = now + 15999
		tick()
		assert.same({ 1 }, pushed(OURS))
		now = now + 1
		for _ = 1, 3 do tick() end
		assert.same({ 1, 1 }, pushed(OURS))
		assert.same({ 1, 1 }, pushed(EXISTING))
	end)

	it("does not send again what was rejected for good", function()
		change(0)
		answers[OURS] = { counts = { total = 1, rejected = 1, future = 0 } }
		tick()
		now = now + 60000
		tick()
		assert.same({ 1 }, pushed(OURS))
	end)

	it("follows order, parallel and max_records", function()
		local function wallets()
			local list = {}
			for i, call in ipairs(calls) do list[i] = call.wallet end
			return list
		end
		change(0)
		order = function(list) return { list[2], list[1] } end
		tick()
		assert.same({ EXISTING, OURS }, wallets())
		change(0)
		order = function(list) return { list[2] } end
		tick()
		assert.same({ EXISTING, OURS, EXISTING }, wallets())
		assert.equal(1, store.acknowledged)
		order, settings.parallel = nil, 1
		change(0)
		local exchanges, most, running = pusher.pages.exchange, 0, 0
		local call = exchanges.call
		function exchanges.call(...)
			running = running + 1
			most = math.max(most, running)
			loop.sleep(1)
			running = running - 1
			return call(...)
		end
		for _ = 1, 2 do
			tick()
			wait.until_true("the pushes to end", function() return running == 0 and pusher.running == 0 end)
		end
		assert.equal(1, most)
		assert.same({ 1, 2, 3 }, pushed(OURS))
		settings.max_records = 1
		local before = #calls
		for _ = 1, 3 do change(0) end
		tick()
		wait.until_true("the pushes to end", function() return pusher.running == 0 end)
		assert.equal(before + 3, #calls)
	end)

	it("sends shorter pages to a peer whose limit is lower, and skips nothing for that", function()
		for _ = 1, 8 do change(0, 500000) end
		local exchanges, longest = pusher.pages.exchange, 0
		local call = exchanges.call
		function exchanges.call(self, peer, build, options)
			if peer.wallet ~= OURS then return call(self, peer, build, options) end
			local page = build("0xsignature")
			if #page.numbers * 500000 > 1000000 then return nil, "refused with HTTP 413", "ERR_TOO_LARGE" end
			longest = math.max(longest, #page.numbers)
			return call(self, peer, function() return page end, options)
		end
		for _ = 1, 4 do tick() end
		assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, pushed(OURS))
		assert.equal(2, longest)
		assert.equal(0, pusher:status().peers[OURS].skipped)
	end)

	it("counts everything as acknowledged when there is no other member", function()
		peers.members = {}
		change(0)
		tick()
		assert.is_nil(store.acknowledged)
	end)
end)
