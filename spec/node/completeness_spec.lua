-- kms.node.completeness, in a node with another member: when its store counts as complete.

local fixture = require("spec.support.readiness")
local native = require("spec.support.native")

describe("kms.node.completeness", function()
	local t

	before_each(function()
		t = fixture.new()
		t:add_member()
	end)

	it("serves only once a complete snapshot is in", function()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.bootstrap.found = { members = 1, reached = 1, unready = 0, complete = 0 }
		t:tick()
		assert.is_false(t.node.ready)
		assert.is_true(t.node:is_verified())
		assert.is_false(t.node:is_complete())
		assert.equal("snapshot sync failed", t.node.reason)
		t.bootstrap.found = { members = 1, reached = 1, unready = 0, complete = 1 }
		t:tick()
		assert.is_true(t.node.ready)
		t:tick()
		assert.equal(2, t.bootstrap.snapshots_taken)
	end)

	it("serves what it has when for three ticks nobody has a complete store", function()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.bootstrap.found = { members = 1, reached = 0, unready = 0, complete = 0 }
		for _ = 1, 2 do t:tick() end
		assert.is_false(t.node.ready)
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("reads what it has, but writes only when a clock that was set back cannot repeat a counter any more", function()
		t.quiet_ms = 30000
		t:open()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.bootstrap.found = { members = 1, reached = 0, unready = 0, complete = 0 }
		for _ = 1, 3 do t:tick() end
		assert.is_true(t.node.ready)
		t:pass(29999)
		local message, wait_s = t.node:writes_wait()
		assert.truthy(message:find("it reads, and writes after a pause", 1, true))
		assert.equal(1, wait_s)
		t:pass(1)
		assert.is_nil(t.node:writes_wait())
	end)

	it("writes at once when a member has a complete store, however short its run", function()
		t.quiet_ms = 30000
		t:open()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_nil(t.node:writes_wait())
	end)

	it("says whether every member has shown its records", function()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.bootstrap.found = { members = 1, reached = 0, unready = 0, complete = 0 }
		for _ = 1, 3 do t:tick() end
		assert.is_true(t.node.ready)
		assert.is_false(t.seen_all)
		t:open()
		t.bootstrap.found = { members = 1, reached = 1, unready = 0, complete = 1 }
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_true(t.seen_all)
	end)

	it("waits longer while a member is there that is not ready: its store may be complete", function()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.bootstrap.found = { members = 1, reached = 0, unready = 1, complete = 0 }
		for _ = 1, 19 do t:tick() end
		assert.is_false(t.node.ready)
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("waits for the records of whoever gave it the secret, unless all members were asked", function()
		t.bootstrap.given = native.secret_random(32)
		t.chain.hash = t.bootstrap.given:keccak256()
		t.bootstrap.found = { members = 2, reached = 1, unready = 0, complete = 0 }
		for _ = 1, 10 do t:tick() end
		assert.is_false(t.node.ready)
		t.bootstrap.found = { members = 2, reached = 2, unready = 0, complete = 0 }
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("counts ticks without a complete store for each secret anew", function()
		t.saved = { native.secret_random(32), native.secret_random(32) }
		t.bootstrap.found = { members = 1, reached = 0, unready = 0, complete = 0 }
		t.chain.hash = t.saved[1]:keccak256()
		for _ = 1, 2 do t:tick() end
		t.chain.hash = t.saved[2]:keccak256()
		for _ = 1, 2 do t:tick() end
		assert.is_false(t.node.ready)
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("catches up when it is back, and serves meanwhile", function()
		for _ = 1, 2 do t:tick() end
		assert.is_nil(t.bootstrap.caught_up)
		t.chain.down = true
		t:pass(180001)
		t:tick()
		assert.is_false(t.node.ready)
		t.chain.down = false
		for _ = 1, 2 do t:tick() end
		assert.is_true(t.node.ready)
		assert.equal(1, t.bootstrap.caught_up)
	end)

	it("needs no snapshot for a secret that it has just made", function()
		t:tick()
		assert.is_true(t.node.ready)
		assert.equal(0, t.bootstrap.snapshots_taken)
	end)
end)
