-- Repair between members in one process: their own stores, messages and replies, without a network.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local repair = require("kms.sync.repair")
local replies = require("kms.sync.replies")
local wait = require("spec.support.wait")

local native = crypto.native
local START_MS = 1700000000000
local APP = "49"
local MASTER = ("m"):rep(32)

local function quiet() end

-- The secret with these bytes, as a newcomer gets it.
local function master_secret()
	local key = assert(native.p384_generate())
	local sealed = crypto.seal_secret(MASTER, native.hex_encode(key:public_der()))
	local text = cjson.encode({ status = "ok", sealed = sealed })
	return assert(assert(native.sync_parse(native.text_body(text))):unseal(key))
end

local LOG = { debug = quiet, info = quiet, warn = quiet, error = quiet, limited = quiet }

describe("repair", function()
	local secret, now, members, calls, sizes, faults

	local function wallet_of(index) return "0x" .. ("%040x"):format(index) end

	-- What `from` sends to `to`, and its reply. `faults[index]` replaces the replies of a member.
	local function call(from, to, peer, build)
		local body = assert(build("0xsignature"))
		calls, sizes[#sizes + 1] = calls + 1, body:len()
		if faults[to.index] then return faults[to.index](peer) end
		local opened = assert(native.sync_parse(body))
		local reply, text, code = to.replies:reply("digest", opened, {
			peer = to.peer_of[from.index], secret = to.secret, signature = "0xsignature", stands = function() return true end,
		})
		if not reply then return nil, text, code end
		sizes[#sizes + 1] = reply:len()
		local inner = assert(native.sync_parse(reply))
		if not to.claims then return inner end
		local liar = setmetatable({}, { __index = function(_, name)
			return function(_, ...) return inner[name](inner, ...) end
		end })
		function liar.counts() return to.claims end
		return liar
	end

	local function new_member(index)
		local member = { index = index, secret = secret, ready = true, reported = {}, peer_of = {} }
		member.store = assert(native.store({ self = wallet_of(index) }))
		local writer = message.writer(wallet_of(index), ("%032x"):format(index))
		local peers = {}
		function peers:others() -- luacheck: no self
			local list = {}
			for i, other in ipairs(members) do if other ~= member then list[#list + 1] = member.peer_of[i] end end
			return list
		end
		function peers:callable(peer) return not peer.banned end -- luacheck: no self
		function peers:understands(peer, feature) return peer.features[feature] == true end -- luacheck: no self
		function peers.report(_, peer, event) member.reported[#member.reported + 1] = { peer.wallet, event } end
		peers.record = peers.report
		local exchange = {}
		function exchange:call(peer, build) return call(member, members[peer.index], peer, build) end -- luacheck: no self
		function exchange:distrust(peer, text) -- luacheck: no self
			peers:report(peer, "bad_envelope")
			return text, "ERR_UNVERIFIED"
		end
		member.replies = replies.new({
			store = member.store, log = LOG, wall_ms = function() return START_MS + now end, mono_ms = function() return now end,
			peers = peers, writer = writer, evidence = {}, readiness = {}, config = {},
			gateway = { accept = function() return false end }, existing = { fetch_later = function() end },
			new_apps = { of_delta = function(_, received) received:admit(1) end },
		})
		member.repair = repair.new({
			exchange = exchange, writer = writer, peers = peers, store = member.store, log = LOG,
			mono_ms = function() return now end, wall_ms = function() return START_MS + now end,
			secret = function() return member.secret end, is_ready = function() return member.ready end,
			accept = function(received) received:admit(1) end,
			settings = function() return { max_bytes = 4 << 20 } end, max_body_bytes = 50 << 20,
		})
		return member
	end

	before_each(function()
		secret, now, members, calls, sizes, faults = master_secret(), 0, {}, 0, {}, {}
		for i = 1, 3 do members[i] = new_member(i) end
		for i, member in ipairs(members) do
			for k = 1, 3 do
				if k ~= i then
					member.peer_of[k] = {
						wallet = wallet_of(k), index = k, number = k, retry_ms = 0, features = { digest = true },
					}
				end
			end
		end
	end)

	-- Writes a key on a member, as a delta that its own node would have merged from a client of another one.
	local counter = 0
	local function write(member, key, dead)
		counter = counter + 1
		local value = dead and "null" or '"' .. native.hex_encode(crypto.record(MASTER, APP, "value " .. counter)) .. '"'
		local text = ('{"type":"delta","data":{"%s":[{"key":"%s","value":%s,"tombstone":%s,"ttl_ms":0,'
			.. '"updated_at_ms":%d,"version":{"%s":%d}}]}}'):format(
			APP, key, value, tostring(dead or false), START_MS - 100000 + counter, wallet_of(9), START_MS - 100000 + counter)
		local received = assert(native.sync_parse(native.text_body(text)))
		received:admit(1)
		local counts = assert(received:apply(member.store, secret, 9, START_MS))
		assert.equal(1, counts.merged)
	end

	-- One interval of a member, to the end of the coroutine that its tick may start.
	local function tick(member)
		local spawn, running = loop.spawn, 0
		loop.spawn = function(fn, ...)
			running = running + 1
			return spawn(function(...)
				fn(...)
				running = running - 1
			end, ...)
		end
		now = now + 10000
		member.repair:tick()
		loop.spawn = spawn
		wait.until_true("the end of the turn", function() return running == 0 end)
	end

	local function status(from, to) return from.repair:status()[wallet_of(to.index)] end

	it("has one exchange an interval, with one member after the other", function()
		for _ = 1, 4 do
			tick(members[1])
			tick(members[1])
			assert.equal("equal", status(members[1], members[2]).result)
			assert.equal("equal", status(members[1], members[3]).result)
		end
		assert.equal(8, calls)
		assert.equal(8, members[1].repair.counts.equal)
		-- One of them was asked just now, the other an interval ago.
		assert.equal(10, status(members[1], members[2]).lag_s + status(members[1], members[3]).lag_s)
	end)

	it("sends one message under 300 bytes where nothing differs", function()
		for i = 1, 50 do
			for _, member in ipairs(members) do
				if member == members[1] then write(member, "k" .. i) end
			end
		end
		for _ = 1, 6 do tick(members[1]) end
		calls, sizes = 0, {}
		tick(members[1])
		assert.equal(1, calls)
		assert.equal(2, #sizes)
		assert.is_true(sizes[1] < 300, sizes[1])
		assert.is_true(sizes[2] < 300, sizes[2])
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
		calls, members[1].ready = 0, false
		tick(members[1])
		members[1].ready = true
		for _, peer in pairs(members[1].peer_of) do peer.features = { store = true } end
		tick(members[1])
		assert.equal(0, calls)
	end)

	it("asks members in backoff and banned ones nothing", function()
		members[1].peer_of[2].retry_ms, members[1].peer_of[3].banned = 1 << 40, true
		for _ = 1, 3 do tick(members[1]) end
		assert.equal(0, calls)
	end)

	it("reports a member that answers nonsense, and goes on with the others", function()
		faults[2] = function() return assert(native.sync_parse(native.text_body('{"status":"ok","digest":"AAAA"}'))) end
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
		now = now + 5000
		assert.equal(5, status(members[1], members[2]).lag_s)
		for _ = 1, 2 do tick(members[1]) end
		now = now + 60000
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
		faults[2] = function() return nil, "gone", "ERR_CONNECT" end
		faults[3] = faults[2]
		tick(members[1])
		tick(members[1])
		assert.equal(2, members[1].repair.counts.failures)
		assert.equal("ERR_CONNECT", status(members[1], members[2]).result)
		faults = {}
		for _ = 1, 2 do tick(members[1]) end
		assert.equal("equal", status(members[1], members[2]).result)
	end)
end)
