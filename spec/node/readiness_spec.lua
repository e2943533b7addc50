-- kms.node.readiness: when a node serves, by what the chain shows of it.

local fixture = require("spec.support.readiness")
local loop = require("kms.base.loop")
local native = require("spec.support.native")

describe("kms.node.readiness", function()
	local t

	before_each(function() t = fixture.new() end)

	it("does not serve when the chain has never answered", function()
		t.chain.down = true
		t:stays_unready("peer cache refresh failed")
	end)

	it("does not serve when it is no member", function()
		t.chain.instances = {}
		t:stays_unready("self not in KMS node list")
		assert.is_false(t.node.is_operator)
	end)

	for name, spoil in pairs({
		["of another app"] = function(i) i.app_id = "50" end,
		["not verified"] = function(i) i.zk_verified = false end,
		["stopped"] = function(i) i.status = 1 end,
	}) do
		it("does not serve as an instance " .. name, function()
			spoil(t.chain.instances[t.tee.address])
			t:stays_unready("self not in KMS node list")
		end)
	end

	it("does not serve on a revoked version", function()
		t.chain.versions["49/1"].status = 2
		t:stays_unready("self not in KMS node list")
	end)

	it("does not serve under another teePubkey than the registered one", function()
		local _, other = native.identity(native.secret_random(32))
		t.chain.instances[t.tee.address].tee_pubkey = other:public_der()
		t:stays_unready("local teePubkey mismatch with registry")
	end)

	it("does not serve when its teePubkey is registered in another form: byte for byte is the rule", function()
		t.chain.instances[t.tee.address].tee_pubkey = t.tee.public_der:sub(-97)
		t:stays_unready("local teePubkey mismatch with registry")
	end)

	it("says once why it does not serve", function()
		function t.tee.load_masters() return nil, "broken" end
		t.chain.hash = "0x" .. ("1"):rep(64)
		for _ = 1, 3 do t:tick() end
		assert.same({
			{ "unavailable", { reason = "cannot read the secret of an earlier run", cause = "broken" } },
		}, t.node.log.lines)
		assert.same({ nil, "broken" }, { t.held:recall() })
	end)

	it("stops serving when its checks break down, and goes on checking", function()
		t:tick()
		local active = t.chain.active_instances
		function t.chain.active_instances() error("malformed answer") end
		loop.on_error(function() end)
		t:tick()
		loop.on_error(function(text) io.stderr:write(text, "\n") end)
		assert.is_false(t.node.ready)
		assert.equal("node check failed", t.node.reason)
		t.chain.active_instances = active
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("goes on checking when what follows a good check breaks down", function()
		t.node.on_verified = function() error("too many members") end
		loop.on_error(function() end)
		assert.has_no_error(function() t:tick() end)
		loop.on_error(function(text) io.stderr:write(text, "\n") end)
		assert.is_false(t.node.ready)
		assert.is_false(t.node:is_verified())
		assert.equal("node check failed", t.node.reason)
		t.node.on_verified = function() end
		t:tick()
		assert.is_true(t.node.ready)
	end)

	it("stops serving when it is removed, and looks more often until it is back", function()
		t:tick()
		assert.equal(60000, t.node:interval_ms())
		local own = t.chain.instances[t.tee.address]
		t.chain.instances = {}
		t:tick()
		assert.is_false(t.node.ready)
		assert.equal(5000, t.node:interval_ms())
		t.chain.instances = { [t.tee.address] = own }
		t:tick()
		assert.is_true(t.node.ready)
	end)

	describe("on a chain that does not answer", function()
		it("asks again after five seconds, not after a whole tick", function()
			t:tick()
			t.chain.down = true
			t:pass(1000)
			t.node:tick()
			assert.is_true(t.node.ready)
			assert.equal(5000, t.node:interval_ms())
			t.chain.down = false
			t:tick()
			assert.equal(60000, t.node:interval_ms())
		end)

		it("serves on the last good view until that is too old, and then not at all", function()
			t:tick()
			t.chain.down = true
			t:pass(180000)
			t.node:tick()
			t.node:watch()
			assert.is_true(t.node.ready)
			assert.is_true(t.node:is_verified())
			t:pass(1)
			assert.is_false(t.node:is_verified())
			t.node:watch()
			assert.is_false(t.node.ready)
			assert.equal("the last view of the chain is too old", t.node.reason)
			t.node:tick()
			assert.equal("peer cache refresh failed", t.node.reason)
			t.chain.down = false
			t:tick()
			assert.is_true(t.node.ready)
		end)

		it("counts the age of a view from its head block's own time", function()
			t.chain.now_ms = t.wall - 170000
			t.node:tick()
			assert.is_true(t.node.ready)
			t:pass(10000)
			t.node:watch()
			assert.is_true(t.node.ready)
			t:pass(1)
			t.node:watch()
			assert.is_false(t.node.ready)
		end)

		it("never serves on a head that is older than a view may become", function()
			t.chain.now_ms = t.wall - 180001
			t.node:tick()
			assert.is_false(t.node.ready)
			assert.is_false(t.node:is_verified())
			assert.equal("the last view of the chain is too old", t.node.reason)
		end)

		it("takes a no at once all the same", function()
			t:tick()
			local hash = t.chain.hash
			t.chain.hash = native.secret_random(32):keccak256()
			t:tick()
			assert.equal("master secret sync failed", t.node.reason)
			assert.is_false(t.node:is_verified())
			t.chain.hash = hash
			t:tick()
			assert.is_true(t.node.ready)
		end)
	end)

	describe("with a clock that jumps", function()
		it("stops serving on a jump that the chain does not bear out, until it is undone", function()
			t:tick()
			t.wall = t.wall + 3600000
			t.node:tick()
			assert.equal("clock", t.node.reason)
			assert.is_false(t.node:is_verified())
			t.wall = t.wall - 3600000
			t.node:tick()
			assert.is_true(t.node.ready)
		end)

		it("takes a jump that the chain bears out", function()
			t:tick()
			t.wall = t.wall + 3600000
			t:tick()
			assert.is_true(t.node.ready)
		end)
	end)
end)
