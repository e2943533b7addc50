-- Whom repair asks when nothing has changed: members that hold the same are asked where an answer is due anyway.

local replicas = require("spec.support.replicas")

local wallet_of = replicas.wallet_of

local INTERVAL_MS = 10000

describe("repair of members that hold the same", function()
	local cluster, lower, one, higher

	before_each(function()
		cluster = replicas.new(3)
		cluster.in_sessions = true
		lower, one, higher = table.unpack(cluster.members)
		cluster:write(one, "k")
	end)

	-- How often `one` asks the lower one and the higher one in so many intervals, in which the lower one ticks too. At a
	-- tick it asks one; of two that are due then, kms.sync.push contacts the other, which this does not count.
	local function asked(intervals, lower_is_silent)
		local counts = { [wallet_of(1)] = 0, [wallet_of(3)] = 0 }
		for _ = 1, intervals do
			if not lower_is_silent then
				cluster:tick(lower)
				cluster.now = cluster.now - INTERVAL_MS
			end
			local peer = cluster:tick(one)
			if peer then counts[peer.wallet] = counts[peer.wallet] + 1 end
		end
		return { counts[wallet_of(1)], counts[wallet_of(3)] }
	end

	before_each(function() asked(20) end) -- all hold it

	-- That the higher one is asked every second interval, the lower one every fourth.
	local function seldom(counts)
		local is_so = counts[1] == 5 and counts[2] >= 8 and counts[2] <= 10
		assert.is_true(is_so, table.concat(counts, ", "))
	end

	it("asks the higher one every second interval, the lower one every fourth while it asks", function()
		seldom(asked(20))
	end)

	it("asks both every second interval while the lower one does not ask", function()
		asked(4, true)
		assert.same({ 10, 10 }, asked(20, true))
	end)

	-- How many exchanges `one` has in eight intervals, in which the lower one ticks too, and before each of which fn(i) is
	-- called. It has fewer where nothing has changed.
	local function exchanges(fn)
		local before = one.repair.counts.exchanges
		for i = 1, 8 do
			fn(i)
			asked(1)
		end
		return one.repair.counts.exchanges - before
	end

	it("asks one at every interval while something changes here, the same or not", function()
		assert.is_true(exchanges(function() end) < 8)
		assert.equal(8, exchanges(function(i) cluster:fill(cluster.members, i, 1) end))
		cluster:write(one, "new")
		for _ = 1, 2 do cluster:tick(one) end
		assert.same({ 10, 10 }, { lower.store:stats().live_keys, higher.store:stats().live_keys })
	end)

	it("asks one at every interval while there are values to ask for", function()
		local exchange = one.repair.one
		local run = exchange.run
		function exchange:run(...)
			local found = run(self, ...)
			found.seeks = true
			return found
		end
		exchanges(function() end)
		assert.equal(8, exchanges(function() end))
	end)

	-- Lets time pass until `one` has just asked the lower one.
	local function await_asked()
		for _ = 1, 20 do
			if asked(1)[1] == 1 then return end
		end
		error("never asked")
	end

	it("asks one in its turn that has another store than the one compared with", function()
		await_asked()
		assert.equal(0, asked(3)[1])
		await_asked()
		one.peer_of[1].store = "another"
		assert.equal(1, asked(2)[1])
		seldom(asked(20))
	end)

	it("asks one at the next tick with which an exchange has failed", function()
		await_asked()
		asked(4)
		local calls = 0
		cluster.faults[1] = function()
			calls = calls + 1
			return nil, "gone", "ERR_CONNECT"
		end
		asked(8)
		assert.is_true(calls >= 3, calls)
		cluster.faults = {}
		asked(20)
		seldom(asked(20))
	end)

	it("brings what has changed on a member that it asks seldom", function()
		cluster:write(lower, "new")
		asked(20)
		assert.same({ 2, 2 }, { one.store:stats().live_keys, higher.store:stats().live_keys })
		seldom(asked(20))
	end)

	it("asks one whose answers always come by a contact after 60 intervals at the latest", function()
		local function asks_in(intervals)
			local asks = 0
			for _ = 1, intervals do
				for _, other in pairs(one.peer_of) do other.answered_ms = cluster.now + INTERVAL_MS end
				if cluster:tick(one) then asks = asks + 1 end
			end
			return asks
		end
		asks_in(62)
		-- Each of the two once, and neither more often.
		assert.equal(2, asks_in(62))
	end)

	it("asks members that are due together one after the other, so that none waits longer than the others", function()
		local six = replicas.new(6)
		six.in_sessions = true
		local asker, order = six.members[1], {}
		six:write(asker, "k")
		for _ = 1, 20 do six:tick(asker) end
		for _ = 1, 40 do
			local peer = six:tick(asker)
			if peer then order[#order + 1] = peer.index end
			-- The others get a contact.
			for _, other in pairs(peer and asker.peer_of or {}) do other.answered_ms = six.now end
		end
		assert.is_true(#order >= 20, #order)
		for i = 6, #order do assert.equal(order[i - 5], order[i], table.concat(order, ", ")) end
	end)
end)
