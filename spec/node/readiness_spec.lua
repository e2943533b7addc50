local chain_api = require("kms.chain")
local clock = require("kms.base.clock")
local outbound = require("kms.peers.outbound")
local fake_chain = require("spec.support.fake_chain")
local readiness = require("kms.node.readiness")
local native = require("spec.support.native")
local peers = require("kms.peers")
local secrets = require("kms.node.master_secrets")

local seed = native.secret_random(32)
local wallet, p384 = native.identity(seed)
local OTHER = "0x" .. ("2"):rep(40)

local function silent()
	local log = { lines = {} }
	local function note(_, event, fields) log.lines[#log.lines + 1] = { event, fields } end
	log.info, log.warn, log.limited = note, note, function() end
	return log
end

describe("readiness", function()
	local chain, node, tee, service, saved, wall, mono, held, join

	local function open(given)
		local log = silent()
		local list = peers.new({
			chain = chain, app_id = "49", own = tee.address, log = log, mono_ms = function() return mono end,
			wall_ms = function() return wall end, bans = {}, backoff_ms = function() return 0 end,
			outbound = outbound.new({ config = { IN_ENCLAVE = false, ALLOW_PRIVATE_PEERS = true }, env = function() end }),
		})
		held = secrets.new({ tee = tee, given = given })
		node = readiness.new({
			chain = chain, peers = list, tee = tee, service = service, secrets = held, log = log, bootstrap = join,
			clock = clock.new({
				wall_ms = function() return wall end, mono_ms = function() return mono end, max_skew_ms = 15000,
			}),
			mono_ms = function() return mono end, tick_ms = 60000, view_ttl_ms = 180000,
		})
	end

	local function pass(ms)
		wall, mono = wall + ms, mono + ms
	end

	-- A tick on a chain whose newest block is of now.
	local function tick()
		chain.now_ms = wall
		node:tick()
	end

	-- Another member; what it answers is in `join`.
	local function add_member()
		local _, key = native.identity(native.secret_random(32))
		chain:register("49", OTHER, key:public_der())
	end

	before_each(function()
		wall, mono = 1700000000000, 5000
		chain = fake_chain.new()
		chain:register("49", wallet:address(), p384:public_der())
		saved = {}
		tee = { address = wallet:address(), public_der = p384:public_der() }
		function tee.random_secret() return native.secret_random(32) end
		function tee.load_masters() return saved end
		function tee.save_master(_, secret)
			table.insert(saved, 1, secret)
			return true
		end
		service = { set_master = function(self, secret) self.master = secret end }
		join = { found = { members = 1, reached = 1, unready = 0, complete = 1 }, asked = {}, snapshots_taken = 0 }
		function join:secret(hash, settled)
			self.asked[#self.asked + 1] = settled
			local found = self.given and self.given:keccak256() == hash
			if found then return self.given, "http://peer" end
			return nil, "nobody has it"
		end
		function join:catch_up() self.caught_up = (self.caught_up or 0) + 1 end
		function join:snapshots()
			self.snapshots_taken = self.snapshots_taken + 1
			return self.found
		end
		open()
	end)

	it("makes a secret where the chain has none, keeps it, publishes its hash and serves", function()
		assert.is_false(node.ready)
		tick()
		assert.is_true(node.ready)
		assert.is_true(node.is_operator)
		assert.equal("generated", held.state)
		assert.equal(saved[1]:keccak256(), chain.hash)
		assert.is_true(service.master:equals(saved[1]))
	end)

	it("serves with the secret of an earlier run", function()
		saved = { native.secret_random(32) }
		chain.hash = saved[1]:keccak256()
		tick()
		assert.is_true(node.ready)
		assert.is_nil(chain.calls.set)
		assert.is_true(service.master:equals(saved[1]))
	end)

	it("serves with the secret that the operator gave", function()
		local given = native.secret_random(32)
		open(given)
		chain.hash = given:keccak256()
		tick()
		assert.is_true(node.ready)
		assert.is_true(service.master:equals(given))
	end)

	local function stays_away(reason)
		tick()
		assert.is_false(node.ready)
		assert.is_false(node:is_verified())
		assert.equal(reason, node.reason)
		assert.is_nil(service.master)
	end

	it("does not serve when the chain has never answered", function()
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
		function tee.load_masters() return nil, "broken" end
		chain.hash = "0x" .. ("1"):rep(64)
		for _ = 1, 3 do tick() end
		assert.same({
			{ "unavailable", { reason = "cannot read the secret of an earlier run", cause = "broken" } },
		}, node.log.lines)
		assert.same({ nil, "broken" }, { held:recall() })
	end)

	it("does not serve with another secret than the chain's, and keeps the one it has", function()
		saved = { native.secret_random(32) }
		chain.hash = native.secret_random(32):keccak256()
		stays_away("master secret sync failed")
		chain.hash = saved[1]:keccak256()
		tick()
		assert.is_true(node.ready)
		assert.equal(1, #saved)
	end)

	it("publishes nothing that it could not keep", function()
		function tee.save_master() return nil, "disk full" end
		stays_away("failed to set master secret hash")
		assert.equal(chain_api.NO_HASH, chain.hash)
	end)

	it("waits while its hash is not yet on chain, with the same secret each tick", function()
		chain.mining_stopped = true
		stays_away("awaiting on-chain master secret hash")
		local first = held.current
		tick()
		assert.equal(first, held.current)
		assert.equal(1, #saved)
	end)

	it("publishes nothing while it cannot read what it kept", function()
		function tee.load_masters() return nil, "master.sealed: damaged" end
		open(native.secret_random(32))
		stays_away("cannot read the secret of an earlier run")
		assert.equal(chain_api.NO_HASH, chain.hash)
		assert.same({}, saved)
	end)

	it("stops serving when its checks break down, and goes on checking", function()
		tick()
		local active = chain.active_instances
		function chain.active_instances() error("malformed answer") end
		require("kms.base.loop").on_error(function() end)
		tick()
		require("kms.base.loop").on_error(function(text) io.stderr:write(text, "\n") end)
		assert.is_false(node.ready)
		assert.equal("node check failed", node.reason)
		chain.active_instances = active
		tick()
		assert.is_true(node.ready)
	end)

	it("goes on checking when what follows a good check breaks down", function()
		node.on_verified = function() error("too many members") end
		require("kms.base.loop").on_error(function() end)
		assert.has_no_error(tick)
		require("kms.base.loop").on_error(function(text) io.stderr:write(text, "\n") end)
		assert.is_false(node.ready)
		assert.is_false(node:is_verified())
		assert.equal("node check failed", node.reason)
		node.on_verified = function() end
		tick()
		assert.is_true(node.ready)
	end)

	it("stops serving when it is removed, and looks more often until it is back", function()
		tick()
		assert.equal(60000, node:interval_ms())
		local own = chain.instances[tee.address]
		chain.instances = {}
		tick()
		assert.is_false(node.ready)
		assert.equal(5000, node:interval_ms())
		chain.instances = { [tee.address] = own }
		tick()
		assert.is_true(node.ready)
	end)

	describe("on a chain that does not answer", function()
		it("serves on the last good view until that is too old, and then not at all", function()
			tick()
			chain.down = true
			pass(180000)
			node:tick()
			node:watch()
			assert.is_true(node.ready)
			assert.is_true(node:is_verified())
			pass(1)
			assert.is_false(node:is_verified())
			node:watch()
			assert.is_false(node.ready)
			assert.equal("the last view of the chain is too old", node.reason)
			node:tick()
			assert.equal("peer cache refresh failed", node.reason)
			chain.down = false
			tick()
			assert.is_true(node.ready)
		end)

		it("counts the age of a view from its head block's own time", function()
			chain.now_ms = wall - 170000
			node:tick()
			assert.is_true(node.ready)
			pass(10000)
			node:watch()
			assert.is_true(node.ready)
			pass(1)
			node:watch()
			assert.is_false(node.ready)
		end)

		it("never serves on a head that is older than a view may become", function()
			chain.now_ms = wall - 180001
			node:tick()
			assert.is_false(node.ready)
			assert.is_false(node:is_verified())
			assert.equal("the last view of the chain is too old", node.reason)
		end)

		it("takes a no at once all the same", function()
			tick()
			local hash = chain.hash
			chain.hash = native.secret_random(32):keccak256()
			tick()
			assert.equal("master secret sync failed", node.reason)
			assert.is_false(node:is_verified())
			chain.hash = hash
			tick()
			assert.is_true(node.ready)
		end)
	end)

	describe("with a hash that changes", function()
		it("publishes the held secret again when the owner resets it, and serves as before", function()
			tick()
			local hash, secret = chain.hash, held.current
			chain.hash = chain_api.NO_HASH
			tick()
			assert.equal(hash, chain.hash)
			assert.is_true(node.ready)
			assert.equal(secret, held.current)
		end)

		it("survives a zero for one tick", function()
			tick()
			local hash, secret = chain.hash, held.current
			chain.hash, chain.mining_stopped = chain_api.NO_HASH, true
			tick()
			assert.equal("awaiting on-chain master secret hash", node.reason)
			chain.hash = hash
			tick()
			assert.is_true(node.ready)
			assert.equal(secret, held.current)
		end)

		it("joins where another node was first, keeping its own secret", function()
			chain.mining_stopped = true
			tick()
			local own = held.current
			join.given = native.secret_random(32)
			chain.hash = join.given:keccak256()
			add_member()
			tick()
			assert.is_true(node.ready)
			assert.same({ "synced", "http://peer" }, { held.state, held.from })
			assert.equal(own, held.spares[1].secret)
			chain.hash = own:keccak256()
			tick()
			assert.is_true(service.master:equals(own))
		end)

		-- While not ready this node looks more often than the peers that have yet to notice.
		it("holds a wrong secret against peers only once ready nodes have looked twice", function()
			chain.hash = native.secret_random(32):keccak256()
			tick()
			for _ = 1, 24 do
				pass(5000)
				tick()
			end
			pass(1)
			tick()
			for i = 1, 25 do assert.is_false(join.asked[i], i) end
			assert.is_true(join.asked[26])
		end)

		-- What the node is while it waits for others, the chain having said no.
		local function while_waiting(object, name, result)
			local seen = {}
			object[name] = function()
				seen.verified, seen.ready, seen.reason = node:is_verified(), node.ready, node.reason
				return table.unpack(result)
			end
			return seen
		end

		it("neither serves nor hands out its secret while it asks peers for another one", function()
			tick()
			chain.hash = native.secret_random(32):keccak256()
			local seen = while_waiting(join, "secret", { nil, "nobody has it" })
			tick()
			assert.same({ verified = false, ready = false, reason = "master secret sync failed" }, seen)
		end)

		it("neither serves nor hands out its secret while the owner's reset stands", function()
			tick()
			chain.hash = chain_api.NO_HASH
			local seen = while_waiting(chain, "set_master_secret_hash", { true })
			tick()
			assert.same({ verified = false, ready = false, reason = "awaiting on-chain master secret hash" }, seen)
		end)

		it("takes a missing answer after a no for no view at all", function()
			tick()
			chain.hash = chain_api.NO_HASH
			function chain:set_master_secret_hash()
				self.down = true
				return true
			end
			tick()
			assert.is_false(node.ready)
			assert.is_false(node:is_verified())
			assert.equal("cannot read master secret hash", node.reason)
		end)
	end)

	describe("with other members", function()
		before_each(add_member)

		it("serves only once a complete snapshot is in", function()
			saved = { native.secret_random(32) }
			chain.hash = saved[1]:keccak256()
			join.found = { members = 1, reached = 1, unready = 0, complete = 0 }
			tick()
			assert.is_false(node.ready)
			assert.is_true(node:is_verified())
			assert.is_false(node:is_complete())
			assert.equal("snapshot sync failed", node.reason)
			join.found = { members = 1, reached = 1, unready = 0, complete = 1 }
			tick()
			assert.is_true(node.ready)
			tick()
			assert.equal(2, join.snapshots_taken)
		end)

		it("serves what it has when for three ticks nobody has a complete store", function()
			saved = { native.secret_random(32) }
			chain.hash = saved[1]:keccak256()
			join.found = { members = 1, reached = 0, unready = 0, complete = 0 }
			for _ = 1, 2 do tick() end
			assert.is_false(node.ready)
			tick()
			assert.is_true(node.ready)
		end)

		it("waits longer while a member is there that is not ready: its store may be complete", function()
			saved = { native.secret_random(32) }
			chain.hash = saved[1]:keccak256()
			join.found = { members = 1, reached = 0, unready = 1, complete = 0 }
			for _ = 1, 19 do tick() end
			assert.is_false(node.ready)
			tick()
			assert.is_true(node.ready)
		end)

		it("waits for the records of whoever gave it the secret, unless all members were asked", function()
			join.given = native.secret_random(32)
			chain.hash = join.given:keccak256()
			join.found = { members = 2, reached = 1, unready = 0, complete = 0 }
			for _ = 1, 10 do tick() end
			assert.is_false(node.ready)
			join.found = { members = 2, reached = 2, unready = 0, complete = 0 }
			tick()
			assert.is_true(node.ready)
		end)

		it("counts ticks without a complete store for each secret anew", function()
			saved = { native.secret_random(32), native.secret_random(32) }
			join.found = { members = 1, reached = 0, unready = 0, complete = 0 }
			chain.hash = saved[1]:keccak256()
			for _ = 1, 2 do tick() end
			chain.hash = saved[2]:keccak256()
			for _ = 1, 2 do tick() end
			assert.is_false(node.ready)
			tick()
			assert.is_true(node.ready)
		end)

		it("catches up when it is back, and serves meanwhile", function()
			for _ = 1, 2 do tick() end
			assert.is_nil(join.caught_up)
			chain.down = true
			pass(180001)
			tick()
			assert.is_false(node.ready)
			chain.down = false
			for _ = 1, 2 do tick() end
			assert.is_true(node.ready)
			assert.equal(1, join.caught_up)
		end)

		it("needs no snapshot for a secret that it has just made", function()
			tick()
			assert.is_true(node.ready)
			assert.equal(0, join.snapshots_taken)
		end)
	end)

	describe("with a clock that jumps", function()
		it("stops serving on a jump that the chain does not bear out, until it is undone", function()
			tick()
			wall = wall + 3600000
			node:tick()
			assert.equal("clock", node.reason)
			assert.is_false(node:is_verified())
			wall = wall - 3600000
			node:tick()
			assert.is_true(node.ready)
		end)

		it("takes a jump that the chain bears out", function()
			tick()
			wall = wall + 3600000
			tick()
			assert.is_true(node.ready)
		end)
	end)
end)
