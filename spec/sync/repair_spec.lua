-- Repair between members in one process: their own stores, messages and replies, without a network.

local crypto = require("spec.support.crypto")
local replicas = require("spec.support.replicas")

local native = crypto.native
local wallet_of = replicas.wallet_of

describe("repair", function()
	local cluster, members

	before_each(function()
		cluster = replicas.new(3)
		members = cluster.members
	end)

	local function write(...) cluster:write(...) end
	local function tick(member) cluster:tick(member) end
	local function status(from, to) return cluster.status(from, to) end

	it("has one exchange an interval, with one member after the other", function()
		for _ = 1, 4 do
			tick(members[1])
			tick(members[1])
			assert.equal("equal", status(members[1], members[2]).result)
			assert.equal("equal", status(members[1], members[3]).result)
		end
		assert.equal(8, cluster.calls)
		assert.equal(8, members[1].repair.counts.equal)
		-- One of them was asked just now, the other an interval ago.
		assert.equal(10, status(members[1], members[2]).lag_s + status(members[1], members[3]).lag_s)
	end)

	it("asks each of two members with sessions every second interval, and never one of three twice in a row", function()
		for count = 3, 4 do
			local some = replicas.new(count)
			some.in_sessions = true
			local one, last = some.members[1], nil
			some:tick(one) -- the tree is built first
			for i = 1, 30 do
				local asked = some:tick(one).wallet
				assert.is_true(i == 1 or asked ~= last, asked)
				last = asked
			end
		end
	end)

	it("leaves the list of members in its order", function()
		local some = replicas.new(6)
		local one = some.members[1]
		local before = table.move(one.peers:others(), 1, 5, 1, {})
		for _ = 1, 20 do some:tick(one) end
		assert.same({ 5, before }, { #before, one.peers:others() })
	end)

	it("says at once with whom it compares, without the thread pool, unless records have changed", function()
		assert.is_nil(cluster:tick(members[1])) -- the tree is built first
		local asked = {}
		for _ = 1, 4 do asked[cluster:tick(members[1]).wallet] = true end
		assert.same({ [wallet_of(2)] = true, [wallet_of(3)] = true }, asked)
		write(members[1], "k")
		assert.is_nil(cluster:tick(members[1]))
		assert.truthy(cluster:tick(members[1]))
	end)

	it("sends one message under 300 bytes where nothing differs", function()
		for i = 1, 50 do
			for _, member in ipairs(members) do
				if member == members[1] then write(member, "k" .. i) end
			end
		end
		for _ = 1, 6 do tick(members[1]) end
		cluster.calls, cluster.sizes = 0, {}
		tick(members[1])
		assert.equal(1, cluster.calls)
		assert.equal(2, #cluster.sizes)
		assert.is_true(cluster.sizes[1] < 300, cluster.sizes[1])
		assert.is_true(cluster.sizes[2] < 300, cluster.sizes[2])
	end)

	-- A member that is compared with often enough is sent nothing else.
	it("brings the time by the other's clock in a session, and in version 1 stays as short as it is", function()
		for _, in_sessions in ipairs({ true, false }) do
			cluster.in_sessions = in_sessions
			for _ = 1, 2 do tick(members[1]) end
			assert.equal(in_sessions and replicas.START_MS + cluster.now or nil, cluster.replied_ms)
		end
	end)

	it("moves values both ways in base64 where members speak in sessions, for fewer bytes", function()
		local bytes = { [false] = 0, [true] = 0 }
		for in_sessions in pairs(bytes) do
			local two = replicas.new(2)
			local one, other = table.unpack(two.members)
			two.in_sessions = in_sessions
			two:fill({ one }, 1, 20, 3000)
			two:fill({ other }, 21, 20, 3000)
			for _ = 1, 3 do two:tick(one) end
			assert.same({ 40, 40 }, { one.store:stats().live_keys, other.store:stats().live_keys })
			for _, size in ipairs(two.sizes) do bytes[in_sessions] = bytes[in_sessions] + size end
		end
		assert.is_true(bytes[true] < 0.75 * bytes[false], bytes[true] / bytes[false])
	end)

	-- Earlier nodes of this version refuse questions in the brief forms.
	it("asks briefly only a member that has announced it, and finds the same differences", function()
		local bytes = {}
		cluster:fill(members, 1, 200)
		cluster:fill({ members[1] }, 201, 1)
		for i = 2, 3 do
			members[1].peer_of[i].features.brief = i == 3 or nil
			members[1].peer_of[5 - i].banned = true
			cluster.sizes = {}
			tick(members[1])
			assert.equal(201, members[i].store:stats().live_keys)
			members[1].peer_of[5 - i].banned = nil
			bytes[i] = 0
			for _, size in ipairs(cluster.sizes) do bytes[i] = bytes[i] + size end
		end
		assert.is_true(bytes[3] + 100 < bytes[2], ("%d, %d before"):format(bytes[3], bytes[2]))
	end)

	it("brings 100 of 100 writes to the member that missed them, and those of both sides of a partition", function()
		for i = 1, 100 do write(members[1], "first" .. i) end
		for i = 1, 20 do write(members[2], "second" .. i) end
		for _ = 1, 4 do for _, member in ipairs(members) do tick(member) end end
		for _, member in ipairs(members) do assert.equal(120, member.store:stats().live_keys) end
		for _ = 1, 2 do tick(members[3]) end
		assert.equal("equal", status(members[3], members[1]).result)
		assert.equal("equal", status(members[3], members[2]).result)
	end)

	it("gives a backlog of 10 MB through a link of 150 kB/s, in shorter pages", function()
		cluster.bytes_per_s = 150000
		cluster:fill({ members[1] }, 1, 100, 50000)
		for _ = 1, 12 do tick(members[1]) end
		for _, member in ipairs(members) do assert.equal(100, member.store:stats().live_keys) end
	end)

	it("brings a deletion", function()
		write(members[1], "k")
		for _ = 1, 2 do tick(members[1]) end
		assert.equal(1, members[2].store:stats().live_keys)
		write(members[1], "k", true)
		for _ = 1, 2 do tick(members[2]) end
		assert.equal(0, members[2].store:stats().live_keys)
		assert.equal(1, members[2].store:stats().tombstones)
	end)

	it("compares nothing under another master secret, before this node is ready, or with existing nodes", function()
		write(members[1], "k")
		for _, other in ipairs({ members[2], members[3] }) do other.secret = native.secret_random(32) end
		for _ = 1, 2 do tick(members[1]) end
		assert.equal("other_key", status(members[1], members[2]).result)
		assert.equal(0, members[2].store:stats().live_keys)
		cluster.calls, members[1].ready = 0, false
		tick(members[1])
		members[1].ready = true
		for _, peer in pairs(members[1].peer_of) do peer.features = { store = true } end
		tick(members[1])
		assert.equal(0, cluster.calls)
	end)

	it("asks members in backoff and banned ones nothing", function()
		members[1].peer_of[2].retry_ms, members[1].peer_of[3].banned = 1 << 40, true
		for _ = 1, 3 do tick(members[1]) end
		assert.equal(0, cluster.calls)
	end)

	it("reports a member that answers nonsense, and goes on with the others", function()
		cluster.faults[2] = function()
			return assert(native.sync_parse(native.text_body('{"status":"ok","digest":"AAAA"}')))
		end
		for _ = 1, 4 do tick(members[1]) end
		assert.same({ wallet_of(2), "bad_envelope" }, members[1].reported[1])
		assert.equal("equal", status(members[1], members[3]).result)
	end)

	-- Has the first member ask 80 times, beside a second one whose store refuses everything that it is given, and so
	-- differs for ever. Returns how often the second one was asked in the first 64 turns, and in the last 16.
	local function ask_a_full_member(claims)
		local asked, real = 0, members[2].replies.reply
		members[2].replies.reply = function(...)
			asked = asked + 1
			return real(...)
		end
		write(members[1], "k")
		members[2].store = assert(native.store({ self = wallet_of(2), max_key = 1, max_total_bytes = 4200 }))
		members[2].replies.store, members[2].claims = members[2].store, claims
		for _ = 1, 64 do tick(members[1]) end
		local early = asked
		for _ = 1, 16 do tick(members[1]) end
		return early, asked - early
	end

	it("gives a member whose claims lead nowhere fewer and fewer turns", function()
		local early, late = ask_a_full_member(nil)
		assert.is_true(early < 40, early)
		assert.is_true(late <= 6, late)
		assert.equal("equal", status(members[1], members[3]).result)
		assert.equal(0, members[2].store:stats().live_keys)
	end)

	it("gives a member fewer turns that claims to take what it is given, and differs for ever", function()
		local early, late = ask_a_full_member({ merged = 1 })
		assert.is_true(early < 40, early)
		assert.is_true(late <= 6, late)
	end)

	it("says how long ago each member held the same, for those that speak digests", function()
		assert.is_false(status(members[1], members[2]).ever_equal)
		cluster.now = cluster.now + 5000
		assert.equal(5, status(members[1], members[2]).lag_s)
		for _ = 1, 2 do tick(members[1]) end
		cluster.now = cluster.now + 60000
		assert.is_true(status(members[1], members[2]).ever_equal)
		assert.is_true(status(members[1], members[2]).lag_s >= 60)
		members[1].peer_of[2].features = { store = true }
		assert.is_nil(status(members[1], members[2]))
	end)

	it("counts what it moved", function()
		for i = 1, 10 do write(members[1], "k" .. i) end
		for _ = 1, 2 do tick(members[1]) end
		local counts = members[1].repair.counts
		assert.equal(20, counts.given)
		assert.equal(0, counts.wanted)
		assert.is_true(counts.bytes > 20 * 100)
		assert.equal(10, status(members[1], members[2]).given)
	end)

	it("goes on after an exchange that failed", function()
		cluster.faults[2] = function() return nil, "gone", "ERR_CONNECT" end
		cluster.faults[3] = cluster.faults[2]
		tick(members[1])
		tick(members[1])
		assert.equal(2, members[1].repair.counts.failures)
		assert.equal("ERR_CONNECT", status(members[1], members[2]).result)
		cluster.faults = {}
		for _ = 1, 2 do tick(members[1]) end
		assert.equal("equal", status(members[1], members[2]).result)
	end)
end)
