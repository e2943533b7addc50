-- kms.node.completeness on a node with sealed snapshots: when it restores them, and what it does while it cannot.

local fixture = require("spec.support.readiness")
local native = require("spec.support.native")

describe("a node with sealed snapshots", function()
	local t, restored

	-- What restores: { begun, runs, answer (results of run) }.
	local function new_restore()
		restored = { begun = 0, runs = 0, answer = { true } }
		return {
			begin = function(_, secret) restored.begun = restored.begun + (secret == t.held.current and 1 or 0) end,
			run = function(_, secret)
				assert.equal(t.held.current, secret)
				assert.is_true(restored.begun > 0)
				restored.runs = restored.runs + 1
				return table.unpack(restored.answer)
			end,
		}
	end

	before_each(function()
		t = fixture.new()
		t.snapshots = { restore = new_restore() }
		t:open()
	end)

	-- The node has the secret of an earlier run, and finds this of its members.
	local function start(members, outcomes)
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t.join.found = fixture.found(members, outcomes)
	end

	local function states() return { t.node.ready, t.node:is_complete(), t.node:is_alone() } end

	it("does not restore what a member with a complete store gives", function()
		t:add_member()
		start(1, { done = 1 })
		t:tick()
		assert.same({ true, true, false }, states())
		assert.same({ 0, true }, { restored.runs, restored.begun > 0 })
	end)

	it("does not restore while a member may still show what it has", function()
		t:add_member()
		t.alone.silent_ms = 1000
		start(1, { silent = 1 })
		t:tick()
		t:pass(999)
		t:tick()
		assert.equal(0, restored.runs)
		start(1, { incomplete = 1, smaller = 1 })
		t:tick()
		assert.equal(0, restored.runs)
	end)

	it("restores before it is complete, when no member has more", function()
		t:add_member()
		start(1, { incomplete = 1 })
		t:tick()
		assert.equal(1, restored.runs)
		assert.same({ true, true, false }, states())
	end)

	it("restores before it serves alone", function()
		t:add_member()
		t.alone.at_once = true
		start(1, { silent = 1 })
		t:tick()
		assert.equal(1, restored.runs)
		assert.same({ true, false, true }, states())
	end)

	it("restores when it has nobody to ask", function()
		start(0, {})
		t:tick()
		assert.equal(1, restored.runs)
		assert.same({ true, true, false }, states())
	end)

	it("does not serve while it cannot restore, says why, and tries again", function()
		for _, members in ipairs({ 0, 1 }) do
			if members == 1 then t:add_member() end
			t:open()
			start(members, members == 1 and { incomplete = 1 } or {})
			restored.answer, restored.runs = { nil, "sealed snapshots are not restored: Input/output error" }, 0
			for i = 1, 3 do
				t:tick()
				assert.same({ false, false, false }, states())
				assert.equal("sealed snapshots are not restored: Input/output error", t.node.cause)
				assert.equal(i, restored.runs)
			end
			restored.answer = { true }
			t:tick()
			assert.same({ true, true, false }, states())
			assert.is_nil(t.node.cause)
		end
	end)

	it("is not complete under a secret that was replaced while it restored", function()
		start(0, {})
		t.snapshots.restore.run = function()
			t.held.current = native.secret_random(32)
			return true
		end
		t:tick()
		assert.is_false(t.node:is_complete())
	end)
end)
