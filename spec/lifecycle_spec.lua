local chain_api = require("kms.chain")
local fake_chain = require("spec.support.fake_chain")
local lifecycle = require("kms.lifecycle")
local native = require("spec.support.native")
local peers = require("kms.peers")

local seed = native.secret_random(32)
local wallet, p384 = native.identity(seed)

local function silent()
	local log = { lines = {} }
	local function note(_, event, fields) log.lines[#log.lines + 1] = { event, fields } end
	log.info, log.warn = note, note
	return log
end

describe("lifecycle", function()
	local chain, node, tee, service, saved

	before_each(function()
		chain = fake_chain.new()
		chain:register("49", wallet:address(), p384:public_der())
		saved = nil
		tee = { address = wallet:address(), public_der = p384:public_der() }
		function tee.random_secret() return native.secret_random(32) end
		function tee.load_master() return saved end
		function tee.save_master(_, secret)
			saved = secret
			return true
		end
		service = { set_master = function(self, secret) self.master = secret end }
		node = lifecycle.new({
			chain = chain, peers = peers.new(chain, "49"), tee = tee, service = service, log = silent(), tick_ms = 60000,
		})
	end)

	it("makes a secret where the chain has none, keeps it, publishes its hash and serves", function()
		assert.is_false(node.ready)
		node:tick()
		assert.is_true(node.ready)
		assert.is_true(node.is_operator)
		assert.equal("generated", node:secret_status().state)
		assert.equal(saved:keccak256(), chain.hash)
		assert.is_true(service.master:equals(saved))
	end)

	it("serves with the secret of an earlier run", function()
		saved = native.secret_random(32)
		chain.hash = saved:keccak256()
		node:tick()
		assert.is_true(node.ready)
		assert.is_nil(chain.calls.set)
		assert.is_true(service.master:equals(saved))
	end)

	it("prefers the secret that the operator gave", function()
		node.given = native.secret_random(32)
		chain.hash = node.given:keccak256()
		node:tick()
		assert.is_true(node.ready)
		assert.is_true(service.master:equals(node.given))
	end)

	local function stays_away(reason)
		node:tick()
		assert.is_false(node.ready)
		assert.equal(reason, node.reason)
		assert.is_nil(service.master)
	end

	it("does not serve when the chain does not answer", function()
		chain.down = true
		stays_away("peer cache refresh failed")
	end)

	it("does not serve when it is no member", function()
		chain.instances = {}
		stays_away("self not in KMS node list")
		assert.is_false(node.is_operator)
	end)

	for name, spoil in pairs({
		["of another app"] = function(i) i.app_id = "50" end,
		["not verified"] = function(i) i.zk_verified = false end,
		["stopped"] = function(i) i.status = 1 end,
	}) do
		it("does not serve as an instance " .. name, function()
			spoil(chain.instances[tee.address])
			stays_away("self not in KMS node list")
		end)
	end

	it("does not serve on a revoked version", function()
		chain.versions["49/1"].status = 2
		stays_away("self not in KMS node list")
	end)

	it("does not serve under another teePubkey than the registered one", function()
		local _, other = native.identity(native.secret_random(32))
		chain.instances[tee.address].tee_pubkey = other:public_der()
		stays_away("local teePubkey mismatch with registry")
	end)

	it("does not serve when its teePubkey is registered in another form: byte for byte is the rule", function()
		chain.instances[tee.address].tee_pubkey = p384:public_der():sub(-97)
		stays_away("local teePubkey mismatch with registry")
	end)

	it("says once why it does not serve", function()
		function tee.load_master() return nil, "broken" end
		chain.hash = "0x" .. ("1"):rep(64)
		for _ = 1, 3 do node:tick() end
		assert.same({ { "unavailable", { reason = "master secret sync failed", cause = "broken" } } }, node.log.lines)
		assert.same({ nil, "broken" }, { node:recall() })
	end)

	it("does not serve with another secret than the chain's, and keeps the one it has", function()
		saved = native.secret_random(32)
		chain.hash = native.secret_random(32):keccak256()
		stays_away("master secret sync failed")
		assert.is_true(node.secret:equals(saved))
		chain.hash = saved:keccak256()
		node:tick()
		assert.is_true(node.ready)
	end)

	it("publishes nothing that it could not keep", function()
		function tee.save_master() return nil, "disk full" end
		stays_away("failed to set master secret hash")
		assert.equal(chain_api.NO_HASH, chain.hash)
	end)

	it("waits while its hash is not yet on chain", function()
		chain.mining_stopped = true
		stays_away("awaiting on-chain master secret hash")
		local first = saved
		node:tick()
		assert.is_true(saved:equals(first)) -- the same secret, not another one each tick
	end)

	it("never writes over a secret that it kept, whatever it is given", function()
		saved = native.secret_random(32)
		local first = saved
		node.given = native.secret_random(32)
		node:tick()
		assert.is_true(saved:equals(first))
		assert.equal(first:keccak256(), chain.hash) -- what was in use goes first
		assert.is_true(service.master:equals(first))
	end)

	it("serves with the kept secret where the given one is not the chain's", function()
		saved, node.given = native.secret_random(32), native.secret_random(32)
		chain.hash = saved:keccak256()
		node:tick()
		assert.is_true(node.ready)
		assert.is_true(service.master:equals(saved))
	end)

	it("serves with the secret that the chain changed to, not with the one before", function()
		saved, node.given = native.secret_random(32), native.secret_random(32)
		chain.hash = saved:keccak256()
		node:tick()
		chain.hash = node.given:keccak256()
		node:tick()
		assert.is_true(node.ready)
		assert.is_true(service.master:equals(node.given))
	end)

	it("publishes nothing over a kept secret that it cannot read", function()
		function tee.load_master() return nil, "master.sealed: damaged" end
		node.given = native.secret_random(32)
		stays_away("failed to set master secret hash")
		assert.equal(chain_api.NO_HASH, chain.hash)
		assert.is_nil(saved)
	end)

	it("stops serving when its checks break down, and goes on checking", function()
		node:tick()
		local active = chain.active_instances
		function chain.active_instances() error("malformed answer") end
		node:tick()
		assert.is_false(node.ready)
		assert.equal("node check failed", node.reason)
		chain.active_instances = active
		node:tick()
		assert.is_true(node.ready)
	end)

	it("stops serving when it is removed, and looks more often until it is back", function()
		node:tick()
		assert.equal(60000, node:interval_ms())
		local own = chain.instances[tee.address]
		chain.instances = {}
		node:tick()
		assert.is_false(node.ready)
		assert.equal(5000, node:interval_ms())
		chain.instances = { [tee.address] = own }
		node:tick()
		assert.is_true(node.ready)
	end)
end)
