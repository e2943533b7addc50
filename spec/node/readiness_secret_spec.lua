-- kms.node.readiness and the master secret: made, published, fetched, superseded.

local chain_api = require("kms.chain")
local fixture = require("spec.support.readiness")
local native = require("spec.support.native")

describe("the master secret of kms.node.readiness", function()
	local t

	before_each(function() t = fixture.new() end)

	it("makes a secret where the chain has none, keeps it, publishes its hash and serves", function()
		assert.is_false(t.node.ready)
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_true(t.node.is_operator)
		assert.equal("generated", t.held.state)
		assert.equal(t.saved[1]:keccak256(), t.chain.hash)
		assert.is_true(t.service.master:equals(t.saved[1]))
	end)

	it("serves with the secret of an earlier run", function()
		t.saved = { native.secret_random(32) }
		t.chain.hash = t.saved[1]:keccak256()
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_nil(t.chain.calls.set)
		assert.is_true(t.service.master:equals(t.saved[1]))
	end)

	it("serves with the secret that the operator gave", function()
		local given = native.secret_random(32)
		t:open(given)
		t.chain.hash = given:keccak256()
		t:tick()
		assert.is_true(t.node.ready)
		assert.is_true(t.service.master:equals(given))
	end)

	it("does not serve with another secret than the chain's, and keeps the one it has", function()
		t.saved = { native.secret_random(32) }
		t.chain.hash = native.secret_random(32):keccak256()
		t:stays_unready("master secret sync failed")
		t.chain.hash = t.saved[1]:keccak256()
		t:tick()
		assert.is_true(t.node.ready)
		assert.equal(1, #t.saved)
	end)

	it("publishes nothing that it could not keep", function()
		function t.tee.save_master() return nil, "disk full" end
		t:stays_unready("failed to set master secret hash")
		assert.equal(chain_api.NO_HASH, t.chain.hash)
	end)

	it("waits while its hash is not yet on chain, with the same secret each tick", function()
		t.chain.mining_stopped = true
		t:stays_unready("awaiting on-chain master secret hash")
		local first = t.held.current
		t:tick()
		assert.equal(first, t.held.current)
		assert.equal(1, #t.saved)
	end)

	it("publishes nothing while it cannot read what it kept", function()
		function t.tee.load_masters() return nil, "master.sealed: damaged" end
		t:open(native.secret_random(32))
		t:stays_unready("cannot read the secret of an earlier run")
		assert.equal(chain_api.NO_HASH, t.chain.hash)
		assert.same({}, t.saved)
	end)

	describe("with a hash that changes", function()
		it("publishes the held secret again when the owner resets it, and serves as before", function()
			t:tick()
			local hash, secret = t.chain.hash, t.held.current
			t.chain.hash = chain_api.NO_HASH
			t:tick()
			assert.equal(hash, t.chain.hash)
			assert.is_true(t.node.ready)
			assert.equal(secret, t.held.current)
		end)

		it("survives a zero for one tick", function()
			t:tick()
			local hash, secret = t.chain.hash, t.held.current
			t.chain.hash, t.chain.mining_stopped = chain_api.NO_HASH, true
			t:tick()
			assert.equal("awaiting on-chain master secret hash", t.node.reason)
			t.chain.hash = hash
			t:tick()
			assert.is_true(t.node.ready)
			assert.equal(secret, t.held.current)
		end)

		it("joins where another node was first, keeping its own secret", function()
			t.chain.mining_stopped = true
			t:tick()
			local own = t.held.current
			t.bootstrap.given = native.secret_random(32)
			t.chain.hash = t.bootstrap.given:keccak256()
			t:add_member()
			t:tick()
			assert.is_true(t.node.ready)
			assert.same({ "synced", "http://peer" }, { t.held.state, t.held.from })
			assert.equal(own, t.held.spares[1].secret)
			t.chain.hash = own:keccak256()
			t:tick()
			assert.is_true(t.service.master:equals(own))
		end)

		-- While not ready this node looks more often than the peers that have yet to notice.
		it("holds a wrong secret against peers only once ready nodes have looked twice", function()
			t.chain.hash = native.secret_random(32):keccak256()
			t:tick()
			for _ = 1, 24 do
				t:pass(5000)
				t:tick()
			end
			t:pass(1)
			t:tick()
			for i = 1, 25 do assert.is_false(t.bootstrap.asked[i], i) end
			assert.is_true(t.bootstrap.asked[26])
		end)

		-- What the node is while it waits for others, the chain having said no.
		local function while_waiting(object, name, result)
			local seen = {}
			object[name] = function()
				seen.verified, seen.ready, seen.reason = t.node:is_verified(), t.node.ready, t.node.reason
				return table.unpack(result)
			end
			return seen
		end

		it("neither serves nor hands out its secret while it asks peers for another one", function()
			t:tick()
			t.chain.hash = native.secret_random(32):keccak256()
			local seen = while_waiting(t.bootstrap, "secret", { nil, "nobody has it" })
			t:tick()
			assert.same({ verified = false, ready = false, reason = "master secret sync failed" }, seen)
		end)

		it("neither serves nor hands out its secret while the owner's reset stands", function()
			t:tick()
			t.chain.hash = chain_api.NO_HASH
			local seen = while_waiting(t.chain, "set_master_secret_hash", { true })
			t:tick()
			assert.same({ verified = false, ready = false, reason = "awaiting on-chain master secret hash" }, seen)
		end)

		it("takes a missing answer after a no for no view at all", function()
			t:tick()
			t.chain.hash = chain_api.NO_HASH
			function t.chain:set_master_secret_hash()
				self.down = true
				return true
			end
			t:tick()
			assert.is_false(t.node.ready)
			assert.is_false(t.node:is_verified())
			assert.equal("cannot read master secret hash", t.node.reason)
		end)
	end)
end)
