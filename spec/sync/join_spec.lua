-- Joining members in one process: what a newcomer takes from them, and what it drops.

local joining = require("spec.support.joining")
local loop = require("kms.base.loop")
local native = require("spec.support.native")

describe("a store that joins", function()
	local t

	before_each(function() t = joining.new() end)

	it("believes no member all of whose records are under another secret, and one that has others, too", function()
		t:write_on({ 2, 3 }, "poison", nil, ("o"):rep(32))
		t:write_on({ 3 }, "good")
		t.newcomer.peers[3] = nil
		t.members[2].complete = false
		-- The other one answers once this one was asked for its records: behind it, this one would only be compared with.
		local asked = false
		t.faults[2] = function(_, since) asked = asked or since == 0 end
		t.faults[3] = function() while not asked do loop.sleep(5) end end
		local found = t:round()
		assert.same({ 1, 1 }, { found.done, found.error }, found.message)
		assert.truthy(found.message:find("all of its records were rejected", 1, true), found.message)
		assert.equal(1, t:keys())
	end)

	-- The newest records, this node's own among them, were not there until its clock was where it had been.
	it("does not serve without records that are ahead of its clock, which was set back", function()
		t:write_on({ 2, 3, 4 }, "newest")
		t.clock_ms = joining.NOW - 200000
		local found = t:round()
		assert.same({ 0, 3, 0 }, { found.done, found.owing, t:keys() })
		assert.truthy(found.message:find("ahead of this node's clock", 1, true), found.message)
		t.clock_ms = joining.NOW
		found = t:round()
		assert.same({ 3, 0, 1 }, { found.done, found.owing, t:keys() })
	end)

	it("serves without records that are ahead of its clock for longer than clocks of honest members can be", function()
		t:write_on({ 2, 3, 4 }, "older")
		t.counter = t.counter + 60000
		t:write_on({ 2, 3, 4 }, "ahead")
		t.clock_ms, t.later_ms = joining.NOW - 80000, joining.AHEAD_MS
		local found = t:round()
		assert.same({ 3, 1 }, { found.done, t:keys() })
	end)

	it("takes pages from one complete member, and from the others what differs", function()
		for i = 1, 60 do t:write_on(i <= 55 and { 2, 3, 4 } or { 2 }, "k" .. i) end
		t:write(t.members[3], "only 3")
		t:write(t.members[4], "only 4")
		local found = t:round()
		assert.same({ 3, 0, 0 }, { found.done, found.error, found.silent })
		assert.equal(62, t:keys())
		local from = {}
		for _, index in ipairs(t.pages) do from[index] = (from[index] or 0) + 1 end
		local most = math.max(from[2], from[3], from[4])
		assert.is_true(most > 10, most) -- pages of 1000 bytes
		assert.is_true(#t.pages - most <= most // 2, #t.pages - most)
	end)

	it("goes on at the page where it was", function()
		for i = 1, 40 do t:write(t.members[2], "k" .. i) end
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		local failed
		t.faults[2] = function(_, since)
			if not since or since <= 20 or since > 1000 or failed then return end
			failed = since
			return nil, "broken off", "ERR_HTTP"
		end
		assert.equal(1, t:round().done)
		assert.truthy(failed)
		assert.equal(40, t:keys())
		assert.is_true(#t.pages < 41, #t.pages)
	end)

	-- It served without a record that its source held all the time: that changed behind the last page's changes.
	it("has a record that is written again while its pages are made", function()
		for i = 1, 40 do t:write(t.members[2], "k" .. i) end
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		t.faults[2] = function(_, since)
			if since and since < 40 then t:write(t.members[2], "k40", ("v"):rep(900)) end
		end
		assert.equal(1, t:round().done)
		assert.equal(40, t:keys())
	end)

	it("begins again with a member that has restarted between two pages", function()
		for i = 1, 40 do t:write(t.members[2], "old" .. i) end
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		t.faults[2] = function(_, since)
			if not since or since < 20 or since > 1000 then return end
			t.faults[2] = nil
			t.members[2].id = ("f"):rep(32)
			t.members[2].restart()
			for i = 1, 5 do t:write(t.members[2], "new" .. i) end
		end
		assert.equal(1, t:round().done)
		assert.is_true(t:keys() >= 25)
		assert.equal(5, t.members[2].store:stats().live_keys)
	end)

	-- What came in pages when it joined may be long ago: all changes since then would come again.
	it("compares hash trees when it is back after a while, and leaves existing nodes alone", function()
		for i = 1, 60 do t:write_on({ 1, 2, 3 }, "k" .. i) end
		t:write(t.members[2], "meanwhile")
		t.newcomer.peers[3].features, t.newcomer.peers[3].heard = {}, true
		t.newcomer.join:returned(t.secret)
		local found = t:round()
		assert.same({ 2, 0, 0 }, { found.done, found.error, found.silent })
		assert.equal(61, t:keys())
		assert.is_true(#t.pages <= 2, #t.pages)
	end)

	-- A newcomer was ready with nothing 8 s before the records came.
	it("is not done with an empty complete member while another one, slower, has records", function()
		for i = 1, 20 do t:write(t.members[3], "k" .. i) end
		t.faults[3] = function() loop.sleep(100) end
		t.newcomer.peers[3].banned = true
		local found = t:round()
		assert.same({ 2, 0 }, { found.done, found.error })
		assert.equal(20, t:keys())
	end)

	-- 50 of 50 deleted records came back with a node that had been away for longer than tombstones stay.
	it("drops after an absence what a complete member has let go of, and gives the rest", function()
		for i = 1, 50 do t:write(t.newcomer, "deleted" .. i) end
		t:write_on({ 2, 3, 4 }, "theirs")
		t.newcomer.absence.before_ms = joining.NOW - 100000 + t.counter
		t:write(t.newcomer, "meanwhile")
		assert.equal(3, t:round().done)
		assert.equal(2, t:keys())
		for index = 2, 4 do assert.equal(2, t.members[index].store:stats().live_keys) end
	end)

	it("keeps after an absence what it has, and takes nothing, where no member is complete", function()
		for index = 2, 4 do t.members[index].complete = false end
		t:write(t.newcomer, "k")
		t:write(t.members[2], "other")
		t.newcomer.absence.before_ms = joining.NOW
		assert.equal(3, t:round().incomplete)
		assert.equal(1, t:keys())
	end)

	it("gives nothing while its own member was away and has not joined anew", function()
		t:write(t.members[2], "deleted")
		t.members[2].absence.before_ms = joining.NOW
		t.newcomer.peers[2].banned, t.newcomer.peers[3].banned = true, true
		local found = t:round()
		assert.same({ 0, 1 }, { found.done, found.owing })
		assert.equal(0, t:keys())
		t.members[2].absence.before_ms = nil
		assert.equal(1, t:round().done)
		assert.equal(1, t:keys())
	end)

	-- The stubs that came with the first one's pages made the hash trees equal.
	it("takes the values that another member has of what the first one has evicted", function()
		local evicting = assert(native.store({ self = joining.wallet_of(2), max_app_bytes = 3000 }))
		t.members[2].store, t.members[2].replies.store = evicting, evicting
		t:write_on({ 2, 3 }, "k", ("v"):rep(1000))
		for i = 1, 3 do t:write_on({ 2, 3 }, "filler" .. i, ("f"):rep(900)) end
		assert.equal(1, evicting:stats().stubs)
		t.newcomer.peers[3].banned = true
		t.faults[3] = function() loop.sleep(100) end
		assert.equal(2, t:round().done)
		assert.same({ 4, 0 }, { t:keys(), t.newcomer.store:stats().stubs })
	end)
end)
