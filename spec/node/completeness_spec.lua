-- kms.node.completeness, in a node with another member: when its store counts as complete.

local fixture = require("spec.support.readiness")
local native = require("spec.support.native")

describe("kms.node.completeness", function()
	local t

	before_each(function()
		t = fixture.new()
		t:add_member()
	end)

	-- The node has the secret of an earlier run, and finds this of its members.
	local function start(members, outcomes)
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.join.found = fixture.found(members, outcomes)
	end

	local function states() return { t.node.ready, t.node:is_complete(), t.node:is_alone() } end

	local function logged(text)
		for _, line in ipairs(t.lines) do
			if line[1] == text then return line[2] or {} end
		end
		return nil
	end

	it("serves only once a complete member has given what it holds", function()
		start(1, { incomplete = 1, smaller = 1 })
		t:tick()
		assert.is_false(t.node.ready)
		assert.is_true(t.node:is_verified())
		assert.equal("snapshot sync failed", t.node.reason)
		t.join.found = fixture.found(1, { done = 1 })
		t:tick()
		assert.same({ true, true, false }, states())
		t:tick()
		assert.equal(2, t.join.rounds)
	end)

	-- A kept secret is not a kept store: with the state "generated" the node served from nothing after three ticks.
	it("does not take a secret of an earlier run for the records under it, and says what it lost", function()
		start(2, { refused = 1, silent = 1 })
		for _ = 1, 20 do t:tick() end
		assert.is_false(t.node.ready)
		assert.equal("generated", t.held.state)
		assert.truthy(logged("store lost: asking 1 member"))
	end)

	it("reads what it has, but writes only when a clock that was set back cannot repeat a counter any more", function()
		t.quiet_ms = 30000
		for _, outcomes in ipairs({ { refused = 1 }, { incomplete = 1 } }) do
			t.alone.after_ms = 0
			t:open()
			start(1, outcomes)
			t:tick()
			assert.is_true(t.node.ready)
			t:pass(29999)
			local message, wait_s = t.node:writes_wait()
			assert.truthy(message:find("it reads, and writes after a pause", 1, true))
			assert.equal(1, wait_s)
			t:pass(1)
			assert.is_nil(t.node:writes_wait())
		end
	end)

	it("writes at once when a member has a complete store, however short its run", function()
		t.quiet_ms = 30000
		t:open()
		start(1, { done = 1 })
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_nil(t.node:writes_wait())
	end)

	it("says whether every member has shown its records", function()
		t.alone.at_once = true
		start(1, { refused = 1 })
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_false(t.seen_all)
		t.join.found = fixture.found(1, { done = 1 })
		t:tick()
		assert.is_true(t.seen_all)
	end)

	it("serves alone when all others refuse connections for LONELY_SECONDS, and goes on asking", function()
		start(2, { refused = 1, incomplete = 1, smaller = 1 })
		t:tick()
		t:pass(29999)
		t:tick()
		assert.same({ false, false, false }, states())
		t:pass(1)
		t:tick()
		assert.same({ true, false, true }, states())
		assert.equal(1, logged("serving alone: no member with a complete store answers").refused)
		t.join.found = fixture.found(2, { done = 1, incomplete = 1 })
		t:tick()
		assert.same({ true, true, false }, states())
	end)

	it("waits LONELY_SILENT_SECONDS while one of them is silent: it may hold what no other has", function()
		start(2, { refused = 1, silent = 1 })
		t:tick()
		t:pass(299999)
		t:tick()
		assert.same({ false, false, false }, states())
		t:pass(1)
		t:tick()
		assert.same({ true, false, true }, states())
	end)

	-- Operators saw "snapshot sync failed" for five minutes, and not of whom.
	it("says for whom it waits, how long at most, and how to end it", function()
		start(3, { silent = 1, refused = 1, incomplete = 1, smaller = 1 })
		t.join.found.left = {
			{ wallet = "0xa", outcome = "silent" }, { wallet = "0xb", outcome = "refused" },
			{ wallet = "0xc", outcome = "incomplete" },
		}
		assert.is_nil(t.node.completeness:waits_for())
		t:tick()
		t:pass(60500)
		local list, left_s = t.node.completeness:waits_for()
		assert.same({
			{ wallet = "0xa", state = "does not answer" }, { wallet = "0xb", state = "refuses connections" },
			{ wallet = "0xc", state = "has no complete store either" },
		}, list)
		assert.equal(240, left_s)
		local fields = logged("not serving: these members may hold records that this node lacks")
		assert.equal("0xa does not answer, 0xb refuses connections, 0xc has no complete store either", fields.members)
		assert.equal(300, fields.serves_alone_in_s)
		assert.truthy(fields.advice:find("SERVE_ALONE=true", 1, true))
		t:pass(240000)
		t:tick()
		assert.is_true(t.node:is_alone())
		assert.equal(3, #t.node.completeness:waits_for())
		t.join.found = fixture.found(3, { done = 1 })
		t:tick()
		assert.is_nil(t.node.completeness:waits_for())
	end)

	it("says that it never serves without a member that answers with errors", function()
		start(1, { error = 1, owing = 1 })
		t.join.found.left = { { wallet = "0xa", outcome = "error" } }
		t:tick()
		t:pass(3600000)
		local list, left_s = t.node.completeness:waits_for()
		assert.same({ { { wallet = "0xa", state = "answers with errors" } }, nil }, { list, left_s })
		assert.equal("never", logged("not serving: these members may hold records that this node lacks").serves_alone_in_s)
	end)

	it("serves alone at once with SERVE_ALONE", function()
		t.alone.at_once = true
		start(2, { silent = 2 })
		t:tick()
		assert.same({ true, false, true }, states())
	end)

	-- Three members whose snapshots were too large answered 413, and a newcomer served from nothing.
	it("never serves because members answer with errors, but passes them over once another has given its own", function()
		start(3, { error = 3, owing = 3 })
		t:tick()
		t:pass(3600000)
		for _ = 1, 5 do t:tick() end
		assert.same({ false, false, false }, states())
		t.join.found = fixture.found(3, { done = 1, error = 2, owing = 2 })
		t:tick()
		assert.same({ true, true, false }, states())
		assert.equal(2, logged("members passed over: repair brings what only they hold").members)
	end)

	-- A newcomer served with the records of a member that had been cut off, while those that had the newest ones did not
	-- know the newcomer yet (seed 18990 of the simulation).
	it("waits for members that do not list it yet until their lists must be new, whoever has given records", function()
		for _, outcomes in ipairs({ { done = 1, unlisted = 2 }, { unlisted = 3 }, { refused = 1, unlisted = 2 } }) do
			t = fixture.new()
			t:add_member()
			t.alone.after_ms, t.alone.silent_ms = 0, 0
			start(3, outcomes)
			t.join.found.left = { { wallet = "0xa", outcome = "unlisted" } }
			t:tick()
			t:pass(179999)
			t:tick()
			assert.same({ false, false, false }, states())
			local list, left_s = t.node.completeness:waits_for()
			assert.same({ { { wallet = "0xa", state = "does not know yet that this node is a member" } }, 1 }, { list, left_s })
			t:pass(1)
			t:tick()
			assert.same({ true, outcomes.done == 1, outcomes.done == nil }, states())
		end
		assert.equal(2, logged("serving alone: no member with a complete store answers").unlisted)
	end)

	it("does not wait for lists with SERVE_ALONE, nor once all members list it", function()
		start(3, { done = 1, unlisted = 2 })
		t:tick()
		assert.is_false(t.node.ready)
		t.join.found = fixture.found(3, { done = 1, error = 2 })
		t:tick()
		assert.is_true(t.node.ready)
		t = fixture.new()
		t:add_member()
		t.alone.at_once = true
		start(3, { done = 1, unlisted = 2 })
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("counts the age of lists from when the chain confirmed this node again", function()
		start(2, { done = 1, unlisted = 1 })
		t:tick()
		t:pass(100000)
		t.chain.instances[t.tee.address].status = 1
		t:tick()
		assert.equal("self not in KMS node list", t.node.reason)
		t.chain.instances[t.tee.address].status = 0
		t:tick()
		t:pass(179999)
		t:tick()
		assert.is_false(t.node.ready)
		t:pass(1)
		t:tick()
		assert.is_true(t.node.ready)
	end)

	-- It served at once without what the others had written meanwhile, and gave itself out as complete.
	it("asks the others before it serves again when the chain did not confirm it for a while", function()
		start(3, { done = 1 })
		t:tick()
		assert.same({ true, 1, 0 }, { t.node.ready, t.join.rounds, t.join.returns })
		t.chain.instances[t.tee.address].status = 1
		t:tick()
		t.chain.instances[t.tee.address].status = 0
		t.join.found = fixture.found(3, { unlisted = 2, error = 1, owing = 1 })
		t:tick()
		t:pass(179999)
		t:tick()
		assert.same({ false, false, false }, states())
		assert.equal(1, t.join.returns)
		t.join.found = fixture.found(3, { done = 1, error = 1, owing = 1 })
		t:tick()
		assert.same({ true, true, false }, states())
	end)

	it("counts on what it had when it is back and no other member can give more", function()
		for _, outcomes in ipairs({ { silent = 3 }, { incomplete = 3, smaller = 3 }, { error = 3 } }) do
			t = fixture.new()
			t:add_member()
			t.quiet_ms = 1000000
			t:open()
			start(3, { done = 1 })
			t:tick()
			t.chain.instances[t.tee.address].status = 1
			t:tick()
			t.chain.instances[t.tee.address].status = 0
			t.join.found = fixture.found(3, outcomes)
			t:tick()
			assert.same({ true, true, false }, states())
			assert.is_nil(t.node:writes_wait())
		end
	end)

	it("asks the others when it is back though it made the secret", function()
		t:tick()
		assert.equal(0, t.join.rounds)
		t.chain.instances[t.tee.address].status = 1
		t:tick()
		t.chain.instances[t.tee.address].status = 0
		t.join.found = fixture.found(1, { unlisted = 1 })
		t:tick()
		assert.same({ false, 1 }, { t.node.ready, t.join.rounds })
	end)

	it("is complete when no member is and its wallet is the smallest, and follows a smaller one", function()
		start(2, { incomplete = 2, smaller = 1 })
		for _ = 1, 5 do t:tick() end
		assert.same({ false, false, false }, states())
		t.join.found = fixture.found(2, { incomplete = 2 })
		t:tick()
		assert.same({ true, true, false }, states())
	end)

	it("counts the time without an answer for each secret anew", function()
		t.saved = { native.secret_random(32), native.secret_random(32) }
		t.join.found = fixture.found(1, { refused = 1 })
		t.chain.hash = t.saved[1]:keccak256()
		t:tick()
		t:pass(29000)
		t.chain.hash = t.saved[2]:keccak256()
		for _ = 1, 3 do t:tick() end
		t:pass(29000)
		t:tick()
		assert.is_false(t.node.ready)
		t:pass(1000)
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("catches up when it is back, and serves meanwhile", function()
		for _ = 1, 2 do t:tick() end
		assert.is_nil(t.existing.fetched)
		t.chain.down = true
		t:pass(180001)
		t:tick()
		assert.is_false(t.node.ready)
		t.chain.down = false
		for _ = 1, 2 do t:tick() end
		assert.is_true(t.node.ready)
		assert.equal(1, t.existing.fetched)
	end)

	it("needs no member for a secret that it has just made", function()
		t:tick()
		assert.is_true(t.node.ready)
		assert.equal(0, t.join.rounds)
	end)

	it("says that nobody holds the secret when all members say so", function()
		t.chain.hash = native.secret_random(32):keccak256()
		t.bootstrap.of_all = "reached 1 member, and none holds the secret"
		t:tick()
		assert.equal("master secret sync failed: reached 1 member, and none holds the secret", t.node.reason)
	end)
end)
