-- Joining members in one process that fail, refuse, hang or lie: whom a newcomer waits for, and for how long.

local joining = require("spec.support.joining")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local uv = require("luv")

describe("a store that joins members that fail", function()
	local t

	before_each(function() t = joining.new() end)

	it("takes another member's pages when one fails three times, and says which failed", function()
		t:write_on({ 2, 3, 4 }, "k")
		t.faults[2] = function(_, since)
			if since and since < 1000 then return nil, "refused with HTTP 413", "ERR_TOO_LARGE" end
		end
		local found = t:round()
		assert.same({ 2, 1, 1 }, { found.done, found.error, found.owing })
		assert.truthy(found.message:find("413", 1, true))
		assert.equal(1, t:keys())
	end)

	-- A newcomer whose members all answered 413 served from an empty store.
	it("is not done when all members answer with errors", function()
		for index = 2, 4 do
			t.faults[index] = function(kind)
				if kind == "snapshot_request" then return nil, "refused with HTTP 413", "ERR_TOO_LARGE" end
			end
		end
		local found = t:round()
		assert.same({ 0, 0, 3, 3 }, { found.done, found.incomplete, found.error, found.owing })
	end)

	it("says which members do not list this node, and asks them once a round", function()
		t:write_on({ 2, 3 }, "k")
		local asked = 0
		t.faults[3] = function()
			asked = asked + 1
			return nil, "it does not list this node as a member", "ERR_NOT_LISTED"
		end
		t.newcomer.peers[2].heard = true
		local found = t:round()
		assert.same({ 2, 0, 1, 1 }, { found.done, found.error, found.unlisted, found.owing })
		assert.same({ { wallet = joining.wallet_of(3), outcome = "unlisted" } }, found.left)
		assert.equal(1, asked)
	end)

	it("does not wait longer for a member that hangs than its call does", function()
		for i = 1, 10 do t:write(t.members[2], "k" .. i) end
		local hung = 0
		t.faults[3] = function()
			hung = hung + 1
			loop.sleep(300)
			return nil, "no reply in time", "ERR_TIMEOUT"
		end
		local began = uv.hrtime()
		local found = t:round()
		assert.same({ 2, 0, 1 }, { found.done, found.error, found.silent })
		assert.equal(1, hung)
		assert.is_true((uv.hrtime() - began) / 1e9 < 15)
		assert.equal(10, t:keys())
	end)

	it("does not wait for an existing node that hangs, though it had never heard of it before", function()
		t:write(t.members[2], "k")
		t.newcomer.peers[2].features = {}
		local over = false
		function t.newcomer.join.bootstrap.snapshot()
			while not over do loop.sleep(50) end
			return nil, "no reply in time", "ERR_TIMEOUT"
		end
		local found = t:round()
		over = true
		assert.same({ 2, 0 }, { found.done, found.silent })
		assert.equal(1, t:keys())
	end)

	it("tells members that refuse connections from silent ones, and takes what incomplete ones hold", function()
		t.members[2].complete = false
		t:write(t.members[2], "k")
		t.faults[3] = function() return nil, "connection refused", "ERR_CONNECT" end
		t.faults[4] = function() return nil, "no reply in time", "ERR_TIMEOUT" end
		local found = t:round()
		assert.same({ 0, 1, 1, 1, 1 }, { found.done, found.incomplete, found.refused, found.silent, found.smaller })
		assert.equal(1, t:keys())
	end)

	it("is not led on without end by pages that lead nowhere", function()
		local asked = 0
		t.faults[2] = function(kind, since)
			if kind ~= "snapshot_request" then return end
			asked = asked + 1
			local last = since == math.maxinteger and since or 0
			return assert(native.sync_parse(native.text_body(
				('{"status":"ok","complete":true,"data":{},"until":%d,"sequence":1000}'):format(last))))
		end
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		local found = t:round()
		assert.same({ 0, 1 }, { found.done, found.error })
		assert.equal(6, asked)
	end)

	-- Each page of a liar leads on, has no record, and takes ten seconds.
	local function endless(index)
		local asked = 0
		t.faults[index] = function(kind, since)
			if kind ~= "snapshot_request" then return end
			asked, t.later_ms = asked + 1, t.later_ms + 10000
			local last = since == math.maxinteger and since or since + 1
			return assert(native.sync_parse(native.text_body(
				('{"status":"ok","complete":true,"data":{},"until":%d,"sequence":%d}'):format(last, 1 << 50))))
		end
		return function() return asked end
	end

	-- The first one has its turn before the others, who waited for it for ever.
	it("ends with what the others hold where the pages of one member never end", function()
		for i = 1, 20 do t:write_on({ 3, 4 }, "k" .. i) end
		local asked = endless(2)
		-- Their probes are answered once it has the turn: it was asked for its first page, not only probed.
		local function later(kind)
			while kind == "snapshot_request" and asked() < 2 do loop.sleep(5) end
		end
		t.faults[3], t.faults[4] = later, later
		local found = t:round()
		assert.same({ 2, 1, 1 }, { found.done, found.error, found.owing })
		assert.truthy(found.message:find("have not ended in time", 1, true))
		assert.equal(20, t:keys())
		assert.is_true(asked() <= 8, asked())
	end)

	-- The longest time of each call is what a member that drips bytes takes.
	it("gives a member's first page two minutes only while no other one has given its records", function()
		t:write_on({ 2, 3, 4 }, "k")
		local exchange = t.newcomer.join.exchange
		local call, longest, first = exchange.call, {}, nil
		exchange.call = function(self, peer, build, options)
			longest[peer.index] = math.max(longest[peer.index] or 0, options.timeout_ms or 0)
			if options.timeout_ms == 120000 then first = first or peer.index end
			return call(self, peer, build, options)
		end
		assert.equal(3, t:round().done)
		for index = 2, 4 do
			assert.equal(index == first and 120000 or nil, longest[index] == 120000 and 120000 or nil)
			assert.is_true(index == first or longest[index] <= 60000)
		end
	end)

	it("gives a member longer whose pages bring at least 64 KiB for each second that they take", function()
		for i = 1, 40 do t:write(t.members[2], "k" .. i) end
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		local exchange = t.newcomer.join.exchange
		local call, per_s = exchange.call, 32768
		exchange.call = function(...)
			local response, message, code, bytes = call(...)
			t.later_ms = t.later_ms + 20000
			return response, message, code, bytes and 20 * per_s
		end
		local found = t:round()
		assert.same({ 0, 1 }, { found.done, found.owing })
		assert.is_true(t:keys() > 0)
		per_s = 65536
		assert.equal(1, t:round().done)
		assert.equal(40, t:keys())
		assert.is_true(#t.pages >= 8, #t.pages)
	end)

	it("goes on in the next round where a member's pages took too long in this one", function()
		for i = 1, 40 do t:write(t.members[2], "k" .. i) end
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		t.faults[2] = function(kind) if kind == "snapshot_request" then t.later_ms = t.later_ms + 50000 end end
		local rounds, found = 0
		repeat
			rounds, found = rounds + 1, t:round()
		until found.done == 1 or rounds > 30
		assert.equal(1, found.done)
		assert.is_true(rounds > 1, rounds)
		assert.equal(40, t:keys())
		assert.is_true(#t.pages <= 41, #t.pages)
	end)
end)
