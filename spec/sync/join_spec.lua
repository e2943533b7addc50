-- Joining members in one process: their own stores, messages and replies, without a network.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local join = require("kms.sync.join")
local loop = require("kms.base.loop")
local message = require("kms.sync.message")
local repair_exchange = require("kms.sync.repair_exchange")
local replies = require("kms.sync.replies")
local uv = require("luv")

local native = crypto.native
local NOW = 1700000000000
local APP = "49"
local AHEAD_MS = 30000
local MASTER = ("m"):rep(32)
local ALL = { pages = true, store = true, digest = true, stub = true }

local function quiet() end
local function wall_ms() return NOW end

-- The secret with these bytes (MASTER), as a newcomer gets it.
local function master_secret(bytes)
	local key = assert(native.p384_generate())
	local sealed = crypto.seal_secret(bytes or MASTER, native.hex_encode(key:public_der()))
	local text = cjson.encode({ status = "ok", sealed = sealed })
	return assert(assert(native.sync_parse(native.text_body(text))):unseal(key))
end

-- Admits the first applications of a message, as if the chain knew them.
local function admit(received)
	for index = 1, 5 do received:admit(index) end
	return true
end

local LOG = { debug = quiet, info = quiet, warn = quiet, error = quiet, limited = quiet }

describe("a store that joins", function()
	local secret, members, newcomer, faults, pages, later_ms, clock_ms

	local function wallet_of(index) return "0x" .. ("%040x"):format(index) end

	local function now() return clock_ms end

	local function mono_ms() return native.mono_ms() + later_ms end

	-- A call of the newcomer. `faults[index]` comes before the reply: it returns a failure, or nothing.
	local function call(peer, build)
		local body = assert(build("0xsignature"))
		local to, opened = members[peer.index], assert(native.sync_parse(body))
		local kind, since = opened:text("type"), opened:number("since")
		local fault = faults[peer.index]
		if fault then
			local result = table.pack(fault(kind, since))
			if result.n > 0 then return table.unpack(result, 1, result.n) end
		end
		if kind == "snapshot_request" and since < math.maxinteger then pages[#pages + 1] = peer.index end
		peer.heard, peer.store = true, to.id
		local exchange = { peer = { wallet = wallet_of(1), number = 1 }, secret = secret, signature = "0xsignature",
			stands = function() return true end }
		local reply, text, code = to.replies:reply(kind, opened, exchange)
		if exchange.slot then exchange.slot:release() end
		if not reply then return nil, text, code end
		return assert(native.sync_parse(reply))
	end

	local function new_member(index)
		local member = { index = index, complete = true, absence = {}, id = ("%032x"):format(index) }
		function member.restart()
			member.store = assert(native.store({ self = wallet_of(index) }))
			member.replies = replies.new({
				store = member.store, log = LOG, wall_ms = function() return NOW end, mono_ms = native.mono_ms,
				peers = { report = quiet, record = quiet, understands = quiet }, evidence = {},
				config = { MAX_SNAPSHOT_BYTES = 1 << 20 },
				writer = message.writer({ address = wallet_of(index) }, member.id, wall_ms),
				readiness = { is_complete = function() return member.complete end },
				gateway = { accept = function() return false end }, existing = { fetch_later = quiet },
				absence = member.absence,
				new_apps = { of_delta = function(_, received) admit(received) end },
			})
		end
		member.restart()
		return member
	end

	before_each(function()
		secret, members, faults, pages, later_ms, clock_ms = master_secret(), {}, {}, {}, 0, NOW
		local list = {}
		for index = 2, 4 do
			members[index] = new_member(index)
			list[#list + 1] = { wallet = wallet_of(index), index = index, number = index, features = ALL }
		end
		local peers = {
			others = function() return list end, callable = function(_, peer) return not peer.banned end,
			understands = function(_, peer, feature) return peer.features[feature] == true end, report = quiet,
			is_known = function(_, peer) return peer.heard == true end,
		}
		local exchange = { call = function(_, peer, build) return call(peer, build) end }
		function exchange.distrust(_, _, text) return text, "ERR_UNVERIFIED" end
		local store = assert(native.store({ self = wallet_of(1) }))
		newcomer = { index = 1, store = store, peers = list, absence = { forgot = quiet } }
		members[1] = newcomer
		local writer = message.writer({ address = wallet_of(3) }, ("%032x"):format(1), wall_ms)
		newcomer.join = join.new({
			exchange = exchange, writer = writer, tee = { address = wallet_of(3) .. "1" }, peers = peers, store = store,
			clock = { now = now }, mono_ms = mono_ms, accept = admit,
			max_body_bytes = 50 << 20, max_snapshot_bytes = 4000, goes_on = function() return true end, ahead_ms = AHEAD_MS,
			bootstrap = { counts = { fetched = 0, failures = 0 } }, absence = newcomer.absence,
			repair = repair_exchange.new({
				exchange = exchange, writer = writer, peers = peers, store = store, mono_ms = native.mono_ms, wall_ms = now,
				secret = function() return secret end, is_ready = function() return true end, accept = admit,
				settings = function() return { max_bytes = 4 << 20 } end, max_body_bytes = 50 << 20,
			}),
		})
	end)

	local counter = 0
	-- Writes a key on some members, in one version; under another master secret where one is given.
	local function write_on(list, key, value, other)
		counter = counter + 1
		local sealed = native.hex_encode(crypto.record(other or MASTER, APP, value or ("value " .. counter)))
		local text = ('{"type":"delta","data":{"%s":[{"key":"%s","value":"%s","tombstone":false,"ttl_ms":0,'
			.. '"updated_at_ms":%d,"version":{"%s":%d}}]}}'):format(
			APP, key, sealed, NOW - 100000 + counter, wallet_of(9), NOW - 100000 + counter)
		for _, index in ipairs(list) do
			local delta = assert(native.sync_parse(native.text_body(text)))
			admit(delta)
			assert.equal(1, delta:apply(members[index].store, other and master_secret(other) or secret, 9, NOW).merged)
		end
	end

	local function write(member, key, value) write_on({ member.index }, key, value) end

	local function round()
		local found
		loop.spawn(function() found = newcomer.join:round(secret) end)
		local ends = uv.hrtime() + 20e9
		while not found and uv.hrtime() < ends do uv.run("once") end
		return assert(found, "the round did not end")
	end

	local function keys() return newcomer.store:stats().live_keys end

	it("believes no member all of whose records are under another secret, and one that has others, too", function()
		write_on({ 2, 3 }, "poison", nil, ("o"):rep(32))
		write_on({ 3 }, "good")
		newcomer.peers[3] = nil
		members[2].complete = false
		local found = round()
		assert.same({ 1, 1 }, { found.done, found.error }, found.message)
		assert.truthy(found.message:find("all of its records were rejected", 1, true), found.message)
		assert.equal(1, keys())
	end)

	-- The newest records, this node's own among them, were not there until its clock was where it had been.
	it("does not serve without records that are ahead of its clock, which was set back", function()
		write_on({ 2, 3, 4 }, "newest")
		clock_ms = NOW - 200000
		local found = round()
		assert.same({ 0, 3, 0 }, { found.done, found.owing, keys() })
		assert.truthy(found.message:find("ahead of this node's clock", 1, true), found.message)
		clock_ms = NOW
		found = round()
		assert.same({ 3, 0, 1 }, { found.done, found.owing, keys() })
	end)

	it("serves without records that are ahead of its clock for longer than clocks of honest members can be", function()
		write_on({ 2, 3, 4 }, "older")
		counter = counter + 60000
		write_on({ 2, 3, 4 }, "ahead")
		clock_ms, later_ms = NOW - 80000, AHEAD_MS
		local found = round()
		assert.same({ 3, 1 }, { found.done, keys() })
	end)

	it("takes pages from one complete member, and from the others what differs", function()
		for i = 1, 60 do write_on(i <= 55 and { 2, 3, 4 } or { 2 }, "k" .. i) end
		write(members[3], "only 3")
		write(members[4], "only 4")
		local found = round()
		assert.same({ 3, 0, 0 }, { found.done, found.error, found.silent })
		assert.equal(62, keys())
		local from = {}
		for _, index in ipairs(pages) do from[index] = (from[index] or 0) + 1 end
		local most = math.max(from[2], from[3], from[4])
		assert.is_true(most > 10, most) -- pages of 1000 bytes
		assert.is_true(#pages - most <= most // 2, #pages - most)
	end)

	it("goes on at the page where it was", function()
		for i = 1, 40 do write(members[2], "k" .. i) end
		newcomer.peers[2].banned, newcomer.peers[3].banned = true, true
		local failed
		faults[2] = function(_, since)
			if not since or since <= 20 or since > 1000 or failed then return end
			failed = since
			return nil, "broken off", "ERR_HTTP"
		end
		assert.equal(1, round().done)
		assert.truthy(failed)
		assert.equal(40, keys())
		assert.is_true(#pages < 41, #pages)
	end)

	-- It served without a record that its source held all the time: that changed behind the last page's changes.
	it("has a record that is written again while its pages are made", function()
		for i = 1, 40 do write(members[2], "k" .. i) end
		newcomer.peers[2].banned, newcomer.peers[3].banned = true, true
		faults[2] = function(_, since)
			if since and since < 40 then write(members[2], "k40", ("v"):rep(900)) end
		end
		assert.equal(1, round().done)
		assert.equal(40, keys())
	end)

	it("begins again with a member that has restarted between two pages", function()
		for i = 1, 40 do write(members[2], "old" .. i) end
		newcomer.peers[2].banned, newcomer.peers[3].banned = true, true
		faults[2] = function(_, since)
			if not since or since < 20 or since > 1000 then return end
			faults[2] = nil
			members[2].id = ("f"):rep(32)
			members[2].restart()
			for i = 1, 5 do write(members[2], "new" .. i) end
		end
		assert.equal(1, round().done)
		assert.is_true(keys() >= 25)
		assert.equal(5, members[2].store:stats().live_keys)
	end)

	it("takes another member's pages when one fails three times, and says which failed", function()
		write_on({ 2, 3, 4 }, "k")
		faults[2] = function(_, since)
			if since and since < 1000 then return nil, "refused with HTTP 413", "ERR_TOO_LARGE" end
		end
		local found = round()
		assert.same({ 2, 1, 1 }, { found.done, found.error, found.owing })
		assert.truthy(found.message:find("413", 1, true))
		assert.equal(1, keys())
	end)

	-- A newcomer whose members all answered 413 served from an empty store.
	it("is not done when all members answer with errors", function()
		for index = 2, 4 do
			faults[index] = function(kind)
				if kind == "snapshot_request" then return nil, "refused with HTTP 413", "ERR_TOO_LARGE" end
			end
		end
		local found = round()
		assert.same({ 0, 0, 3, 3 }, { found.done, found.incomplete, found.error, found.owing })
	end)

	it("does not wait longer for a member that hangs than its call does", function()
		for i = 1, 10 do write(members[2], "k" .. i) end
		local hung = 0
		faults[3] = function()
			hung = hung + 1
			loop.sleep(300)
			return nil, "no reply in time", "ERR_TIMEOUT"
		end
		local began = uv.hrtime()
		local found = round()
		assert.same({ 2, 0, 1 }, { found.done, found.error, found.silent })
		assert.equal(1, hung)
		assert.is_true((uv.hrtime() - began) / 1e9 < 15)
		assert.equal(10, keys())
	end)

	it("does not wait for an existing node that hangs, though it had never heard of it before", function()
		write(members[2], "k")
		newcomer.peers[2].features = {}
		local over = false
		function newcomer.join.bootstrap.snapshot()
			while not over do loop.sleep(50) end
			return nil, "no reply in time", "ERR_TIMEOUT"
		end
		local found = round()
		over = true
		assert.same({ 2, 0 }, { found.done, found.silent })
		assert.equal(1, keys())
	end)

	-- A newcomer was ready with nothing 8 s before the records came.
	it("is not done with an empty complete member while another one, slower, has records", function()
		for i = 1, 20 do write(members[3], "k" .. i) end
		faults[3] = function() loop.sleep(100) end
		newcomer.peers[3].banned = true
		local found = round()
		assert.same({ 2, 0 }, { found.done, found.error })
		assert.equal(20, keys())
	end)

	it("tells members that refuse connections from silent ones, and takes what incomplete ones hold", function()
		members[2].complete = false
		write(members[2], "k")
		faults[3] = function() return nil, "connection refused", "ERR_CONNECT" end
		faults[4] = function() return nil, "no reply in time", "ERR_TIMEOUT" end
		local found = round()
		assert.same({ 0, 1, 1, 1, 1 }, { found.done, found.incomplete, found.refused, found.silent, found.smaller })
		assert.equal(1, keys())
	end)

	-- 50 of 50 deleted records came back with a node that had been away for longer than tombstones stay.
	it("drops after an absence what a complete member has let go of, and gives the rest", function()
		for i = 1, 50 do write(newcomer, "deleted" .. i) end
		write_on({ 2, 3, 4 }, "theirs")
		newcomer.absence.before_ms = NOW - 100000 + counter
		write(newcomer, "meanwhile")
		assert.equal(3, round().done)
		assert.equal(2, keys())
		for index = 2, 4 do assert.equal(2, members[index].store:stats().live_keys) end
	end)

	it("keeps after an absence what it has, and takes nothing, where no member is complete", function()
		for index = 2, 4 do members[index].complete = false end
		write(newcomer, "k")
		write(members[2], "other")
		newcomer.absence.before_ms = NOW
		assert.equal(3, round().incomplete)
		assert.equal(1, keys())
	end)

	it("gives nothing while its own member was away and has not joined anew", function()
		write(members[2], "deleted")
		members[2].absence.before_ms = NOW
		newcomer.peers[2].banned, newcomer.peers[3].banned = true, true
		local found = round()
		assert.same({ 0, 1 }, { found.done, found.owing })
		assert.equal(0, keys())
		members[2].absence.before_ms = nil
		assert.equal(1, round().done)
		assert.equal(1, keys())
	end)

	it("is not led on without end by pages that lead nowhere", function()
		local asked = 0
		faults[2] = function(kind, since)
			if kind ~= "snapshot_request" then return end
			asked = asked + 1
			local last = since == math.maxinteger and since or 0
			return assert(native.sync_parse(native.text_body(
				('{"status":"ok","complete":true,"data":{},"until":%d,"sequence":1000}'):format(last))))
		end
		newcomer.peers[2].banned, newcomer.peers[3].banned = true, true
		local found = round()
		assert.same({ 0, 1 }, { found.done, found.error })
		assert.equal(6, asked)
	end)

	-- Each page of a liar leads on, has no record, and takes ten seconds.
	local function endless(index)
		local asked = 0
		faults[index] = function(kind, since)
			if kind ~= "snapshot_request" then return end
			asked, later_ms = asked + 1, later_ms + 10000
			local last = since == math.maxinteger and since or since + 1
			return assert(native.sync_parse(native.text_body(
				('{"status":"ok","complete":true,"data":{},"until":%d,"sequence":%d}'):format(last, 1 << 50))))
		end
		return function() return asked end
	end

	-- The first one has its turn before the others, who waited for it for ever.
	it("ends with what the others hold where the pages of one member never end", function()
		for i = 1, 20 do write_on({ 3, 4 }, "k" .. i) end
		local asked = endless(2)
		local found = round()
		assert.same({ 2, 1, 1 }, { found.done, found.error, found.owing })
		assert.truthy(found.message:find("have not ended in time", 1, true))
		assert.equal(20, keys())
		assert.is_true(asked() <= 40, asked())
	end)

	it("goes on in the next round where a member's pages took too long in this one", function()
		for i = 1, 40 do write(members[2], "k" .. i) end
		newcomer.peers[2].banned, newcomer.peers[3].banned = true, true
		faults[2] = function(kind) if kind == "snapshot_request" then later_ms = later_ms + 50000 end end
		local rounds, found = 0
		repeat
			rounds, found = rounds + 1, round()
		until found.done == 1 or rounds > 20
		assert.equal(1, found.done)
		assert.is_true(rounds > 1, rounds)
		assert.equal(40, keys())
		assert.is_true(#pages <= 41, #pages)
	end)

	-- The stubs that came with the first one's pages made the hash trees equal.
	it("takes the values that another member has of what the first one has evicted", function()
		local evicting = assert(native.store({ self = wallet_of(2), max_app_bytes = 3000 }))
		members[2].store, members[2].replies.store = evicting, evicting
		write_on({ 2, 3 }, "k", ("v"):rep(1000))
		for i = 1, 3 do write_on({ 2, 3 }, "filler" .. i, ("f"):rep(900)) end
		assert.equal(1, evicting:stats().stubs)
		newcomer.peers[3].banned = true
		faults[3] = function() loop.sleep(100) end
		assert.equal(2, round().done)
		assert.same({ 4, 0 }, { keys(), newcomer.store:stats().stubs })
	end)
end)
