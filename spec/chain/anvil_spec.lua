--- The EVM backend on a real EVM with the real contracts: what it reads, and
-- setMasterSecretHash through a lost race, a stuck transaction and the owner's reset.

local anvil = require("spec.support.anvil")
local chain_server = require("spec.support.chain_server")
local evm = require("kms.chain.evm")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local wait = require("spec.support.wait")

local HASH, OTHER = "0x" .. ("5a"):rep(32), "0x" .. ("5b"):rep(32)

-- A member of the cluster with a backend of its own.
local function join(node, options)
	local wallet, p384 = native.identity(native.secret_random(32))
	local config = chain_server.config({ node.url }, {
		NOVA_APP_REGISTRY_ADDRESS = node.registry, KMS_REGISTRY_ADDRESS = node.kms, CHAIN_CONFIRMATIONS = 0,
	})
	local member = { log = chain_server.log(), wallet = wallet:address(), key = p384:public_der() }
	member.tee = { address = member.wallet, sign_transaction = function(_, fields)
		return native.sign_transaction(wallet, fields)
	end }
	member.chain = assert(evm.open({
		config = config, log = member.log, wall_ms = native.wall_ms, poll_ms = 50, stuck_ms = options and options.stuck_ms,
	}))
	node:join(member.wallet, member.key)
	return member
end

local function with_anvil(body)
	return function()
		if not anvil.available() then return pending("`make contracts` has not run here") end
		loopback.run(function()
			local node = anvil.start()
			local ok, failure = pcall(body, node)
			node:stop()
			if not ok then error(failure, 0) end
		end)
	end
end

local function hash_of(member)
	assert(member.chain:begin_tick())
	return assert(member.chain:master_secret_hash())
end

describe("chain.evm on anvil", function()
	it("reads what the contracts say", with_anvil(function(node)
		local member = join(node)
		assert(member.chain:begin_tick())
		assert.same({ member.wallet }, member.chain:active_instances("1"))
		local instance = member.chain:instance_by_wallet(member.wallet)
		assert.same({ "1", "1", "1", member.key, true, 0 }, {
			instance.id, instance.app_id, instance.version_id, instance.tee_pubkey, instance.zk_verified, instance.status,
		})
		assert.equal(0, member.chain:app("1").status)
		assert.equal(0, member.chain:version("1", "1").status)
		for _, code in ipairs({
			select(3, member.chain:instance_by_wallet(OTHER:sub(1, 42))), (select(3, member.chain:app("2"))),
			(select(3, member.chain:version("1", "2"))),
		}) do assert.equal("ERR_NOT_FOUND", code) end
		assert.same({}, member.chain:active_instances("2"))
		assert.equal(chain_server.NO_HASH, member.chain:master_secret_hash())
		node:call(node.registry, "stopInstance(uint256)", 1)
		assert.equal(1, member.chain:instance_by_wallet(member.wallet, { fresh = true }).status)
	end))

	it("sets the hash, and again after the owner's reset", with_anvil(function(node)
		local member = join(node)
		assert(member.chain:begin_tick())
		assert.is_true(member.chain:set_master_secret_hash(HASH, member.tee))
		wait.until_true("the hash to be on chain", function() return hash_of(member) == HASH end)
		member.log.wait_once("setMasterSecretHash is on chain")
		node:call(node.kms, "resetMasterSecretHash()")
		assert.equal(chain_server.NO_HASH, hash_of(member))
		assert.is_true(member.chain:set_master_secret_hash(HASH, member.tee))
		wait.until_true("the hash to be on chain", function() return hash_of(member) == HASH end)
		member.chain:close()
	end))

	it("anchors snapshots, and reads the newest of all", with_anvil(function(node)
		local first, second = join(node), join(node)
		assert.is_true(first.chain:set_master_secret_hash(HASH, first.tee))
		wait.until_true("the hash to be on chain", function() return hash_of(first) == HASH end)
		first.log.wait_once("setMasterSecretHash is on chain")
		assert.is_false(first.chain:snapshot():newest_snapshot_anchor())
		local now_s = tonumber(node:rpc("eth_getBlockByNumber", "latest", false).timestamp)
		-- A member's anchor is waited for by its receipt and read at a head of now: while anvil mines a block, it answers
		-- reads at the one before by the state of either, so that an anchor read once may be gone at the next read.
		local function anchor_of(wallet)
			assert(second.chain:begin_tick())
			return assert(second.chain:snapshot():snapshot_anchor(wallet))
		end
		local function newest()
			assert(second.chain:begin_tick())
			return assert(second.chain:snapshot():newest_snapshot_anchor())
		end
		assert.is_true(first.chain:anchor_snapshot(OTHER, now_s, first.tee))
		first.log.wait_once("anchorSnapshot is on chain")
		assert.same({ manifest = OTHER, time = now_s, member = first.wallet }, newest())
		assert.is_true(second.chain:anchor_snapshot(HASH, now_s + 1, second.tee))
		second.log.wait_once("anchorSnapshot is on chain")
		assert.same({ manifest = HASH, time = now_s + 1, member = second.wallet }, newest())
		assert.same({ manifest = OTHER, time = now_s, member = first.wallet }, anchor_of(first.wallet))
		local ok, message = first.chain:anchor_snapshot(OTHER, now_s, first.tee)
		assert.is_nil(ok)
		assert.truthy(message:find("anchorSnapshot would revert: AnchorTimeNotRising", 1, true), message)
		ok, message = first.chain:anchor_snapshot(OTHER, now_s + 100000, first.tee)
		assert.is_nil(ok)
		assert.truthy(message:find("anchorSnapshot would revert: AnchorTimeTooFarAhead", 1, true), message)
		node:call(node.registry, "stopInstance(uint256)", 2)
		assert.equal(second.wallet, newest().member)
		ok, message = second.chain:anchor_snapshot(HASH, now_s + 2, second.tee)
		assert.is_nil(ok)
		assert.truthy(message:find("NotAuthorizedToAnchor", 1, true), message)
		first.chain:close()
		second.chain:close()
	end))

	it("says what the contract would refuse", with_anvil(function(node)
		local first, second = join(node), join(node)
		assert.is_true(first.chain:set_master_secret_hash(HASH, first.tee))
		-- By its receipt: while anvil mines a block, an estimate may still be made on the state before.
		first.log.wait_once("setMasterSecretHash is on chain")
		local ok, message = second.chain:set_master_secret_hash(OTHER, second.tee)
		assert.is_nil(ok)
		assert.truthy(message:find("MasterSecretHashAlreadySet", 1, true), message)
		node:call(node.kms, "resetMasterSecretHash()")
		node:call(node.registry, "setZkVerified(uint256,bool)", 2, false)
		ok, message = second.chain:set_master_secret_hash(OTHER, second.tee)
		assert.is_nil(ok)
		assert.truthy(message:find("NotAuthorizedToSetHash", 1, true), message)
		first.chain:close()
	end))

	it("lets one of two win a race, and the other one knows", with_anvil(function(node)
		local first, second = join(node), join(node)
		node:rpc("evm_setAutomine", false)
		assert.is_true(first.chain:set_master_secret_hash(HASH, first.tee))
		assert.is_true(second.chain:set_master_secret_hash(OTHER, second.tee))
		node:mine()
		local function count(event) return first.log.count(event) + second.log.count(event) end
		wait.until_true("the log to say: setMasterSecretHash is on chain", function()
			return count("setMasterSecretHash is on chain") == 1 and count("setMasterSecretHash reverted") == 1
		end)
		local winner = first.log.count("setMasterSecretHash is on chain") == 1 and HASH or OTHER
		assert.equal(winner, hash_of(first))
		assert.equal(winner, hash_of(second))
		first.chain:close()
		second.chain:close()
	end))

	it("gets a stuck transaction through", with_anvil(function(node)
		local member = join(node, { stuck_ms = 300 })
		node:rpc("evm_setAutomine", false)
		assert.is_true(member.chain:set_master_secret_hash(HASH, member.tee))
		-- Twice the fee that was enough a moment ago.
		node:rpc("anvil_setNextBlockBaseFeePerGas", "0x12a05f200")
		node:mine()
		assert.equal(chain_server.NO_HASH, hash_of(member))
		wait.until_true("the hash to be on chain", function()
			node:rpc("anvil_setNextBlockBaseFeePerGas", "0x12a05f200")
			node:mine()
			return hash_of(member) == HASH
		end)
		member.log.wait_once("setMasterSecretHash is on chain")
		assert.is_true(member.log.count("setMasterSecretHash is stuck") >= 1)
		member.chain:close()
	end))
end)
