-- A node that was away, paused or no member, for so long that others may have forgotten what they deleted.

local fixture = require("spec.support.readiness")

local LIMIT_MS = 43200000 -- half of TOMBSTONE_RETENTION_MS

describe("kms.node.absence", function()
	local t

	before_each(function()
		t = fixture.new()
		t:add_member()
		t:tick() -- ready: it has made the secret itself
		t.shared_ms = t.wall
	end)

	local function states() return { t.node.ready, t.node:is_complete(), t.absence.before_ms ~= nil } end

	local function come_back(found)
		t.join.found = fixture.found(1, found)
		t:pass(LIMIT_MS + 1)
		t:tick()
	end

	it("joins anew before it serves, and names the time before which others held what it holds", function()
		local before = t.shared_ms - 15000
		come_back({ error = 1, owing = 1 })
		assert.same({ false, false, true }, states())
		assert.equal(before, t.absence.before_ms)
		t.join.found = fixture.found(1, { done = 1 })
		t:tick()
		assert.same({ true, true, false }, states())
		assert.equal(2, t.join.rounds)
	end)

	it("is noticed where the node was no member meanwhile", function()
		t.chain.down = true
		t:pass(LIMIT_MS)
		t:tick()
		assert.same({ false, true, false }, states())
		t.chain.down = false
		come_back({ error = 1, owing = 1 })
		assert.same({ false, false, true }, states())
	end)

	it("is noticed where the monotonic clock stood still: the machine slept, or its virtual machine was paused", function()
		t.join.found = fixture.found(1, { error = 1, owing = 1 })
		t.wall, t.mono = t.wall + LIMIT_MS + 1, t.mono + 1000
		t:tick()
		assert.same({ false, false, true }, states())
	end)

	it("is noticed where the wall clock was set back meanwhile", function()
		t.join.found = fixture.found(1, { error = 1, owing = 1 })
		t.wall, t.mono = t.wall - 1000, t.mono + LIMIT_MS + 1
		t:tick()
		assert.same({ false, false, true }, states())
	end)

	it("is none that is shorter than half of the retention", function()
		t:pass(LIMIT_MS)
		t:tick()
		assert.same({ true, true, false }, states())
		assert.equal(0, t.join.rounds)
	end)

	it("changes nothing where no other member was ever found to hold the same", function()
		t.shared_ms = nil
		come_back({ done = 1 })
		assert.same({ true, true, false }, states())
		assert.equal(0, t.join.rounds)
	end)

	it("ends when no member is complete: all that is here counts, and the next round takes theirs", function()
		come_back({ incomplete = 1 })
		assert.same({ false, false, false }, states())
		t:tick()
		assert.same({ true, true, false }, states())
	end)

	it("ends when the node serves alone", function()
		come_back({ silent = 1 })
		assert.same({ false, false, true }, states())
		t:pass(300000)
		t:tick()
		assert.same({ true, false, false }, states())
		assert.is_true(t.node:is_alone())
	end)
end)
