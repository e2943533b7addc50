--- setMasterSecretHash and anchorSnapshot on a chain on loopback: sent once, watched, replaced when stuck, given
-- up when another node was first.

local chain_server = require("spec.support.chain_server")
local evm = require("kms.chain.evm")
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")
local wait = require("spec.support.wait")

local HASH, OTHER = "0x" .. ("5a"):rep(32), "0x" .. ("5b"):rep(32)
local POLL_MS = 20

-- Runs body(chain, server, tee, log) as the one member of the cluster.
local function with_chain(options, body)
	loopback.run(function()
		local server, log = chain_server.start(), chain_server.log()
		server.still = true
		local wallet, p384 = native.identity(native.secret_random(32))
		server:register("49", wallet:address(), p384:public_der())
		local chain = assert(evm.open({
			config = chain_server.config({ server.url }, options.config), log = log, wall_ms = native.wall_ms,
			poll_ms = POLL_MS, stuck_ms = options.stuck_ms,
		}))
		assert(chain:begin_tick())
		body(chain, server, chain_server.signer(wallet), log)
		chain:close()
	end)
end

-- Waits until the publisher has looked for a receipt a few more times.
local function pass_polls(server)
	local name = "eth_getTransactionReceipt"
	local before = server.calls[name] or 0
	wait.until_true("polls", function() return (server.calls[name] or 0) >= before + 5 end)
end

local function fails(pattern, ok, message, code)
	assert.is_nil(ok)
	assert.equal("ERR_CHAIN", code)
	assert.truthy(message:find(pattern, 1, true), message)
end

describe("anchors of snapshots", function()
	-- As with_chain, with the master secret's hash on chain.
	local function with_hash(body)
		with_chain({}, function(chain, server, tee, log)
			server.hash = HASH
			body(chain, server, tee, log)
		end)
	end

	it("are sent and read", function()
		with_hash(function(chain, server, tee, log)
			local now_s = os.time()
			assert.is_false(chain:snapshot():snapshot_anchor(tee.address))
			assert.is_false(chain:snapshot():newest_snapshot_anchor())
			assert.is_true(chain:anchor_snapshot(OTHER, now_s, tee))
			assert.equal(native.abi_call("anchorSnapshot", OTHER, tostring(now_s)), tee.fields[1].data)
			server.number = 1006
			log.wait_once("anchorSnapshot is on chain")
			assert.is_false(chain:is_anchoring())
			local anchor = { manifest = OTHER, time = now_s, member = tee.address }
			assert.same(anchor, chain:snapshot():snapshot_anchor(tee.address))
			assert.same(anchor, chain:snapshot():newest_snapshot_anchor())
		end)
	end)

	it("are in flight one at a time, and not beside another call of the account", function()
		with_chain({}, function(chain, server, tee)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			fails("setMasterSecretHash is in flight", chain:anchor_snapshot(OTHER, os.time(), tee))
			assert.is_false(chain:is_anchoring())
		end)
		with_hash(function(chain, server, tee)
			local now_s = os.time()
			server.mining = false
			for _ = 1, 3 do assert.is_true(chain:anchor_snapshot(OTHER, now_s, tee)) end
			assert.is_true(chain:is_anchoring())
			fails("anchorSnapshot with other arguments is in flight", chain:anchor_snapshot(OTHER, now_s + 1, tee))
			fails("anchorSnapshot is in flight", chain:set_master_secret_hash(HASH, tee))
			assert.equal(1, #server.sent)
		end)
	end)

	it("name the error of the contract, and send nothing then", function()
		with_chain({}, function(chain, server, tee)
			fails("anchorSnapshot would revert: NotAuthorizedToAnchor", chain:anchor_snapshot(OTHER, os.time(), tee))
			server.hash = HASH
			fails("AnchorTimeTooFarAhead", chain:anchor_snapshot(OTHER, os.time() + 400, tee))
			server.anchors[tee.address] = { manifest = OTHER, time = os.time(), member = tee.address }
			fails("AnchorTimeNotRising", chain:anchor_snapshot(OTHER, os.time() - 1, tee))
			assert.equal(0, #server.sent)
		end)
	end)

	it("are not there in a contract of before, which is not a chain that cannot be read", function()
		with_hash(function(chain, server, tee)
			server.without_anchors = true
			assert.same({ nil, "KMSRegistry has no anchors of snapshots", "ERR_NOT_FOUND" },
				{ chain:snapshot():newest_snapshot_anchor() })
			assert.equal("ERR_NOT_FOUND", select(3, chain:snapshot():snapshot_anchor(tee.address)))
			server.override = function(name) return name:find("Anchor") and { result = "0x" } or nil end
			fails("there is no contract at", chain:snapshot():newest_snapshot_anchor())
			server.override = function(name) return name:find("Anchor") and { result = "0x01" } or nil end
			fails("newestSnapshotAnchor", chain:snapshot():newest_snapshot_anchor())
			server.override = function(name)
				return name:find("Anchor") and { error = { code = -32000, message = "no backend" } } or nil
			end
			fails("no backend", chain:snapshot():newest_snapshot_anchor())
		end)
	end)
end)

describe("chain.transaction", function()
	it("sends one transaction with sound fields, and it counts", function()
		with_chain({}, function(chain, server, tee, log)
			server.nonce = 7
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			assert.equal(HASH, server.hash)
			assert.same({
				chain_id = "0x14a34", nonce = "0x7", max_priority_fee_per_gas = "0xf4240",
				max_fee_per_gas = ("0x%x"):format(2 * 1000000000 + 1000000), gas_limit = ("0x%x"):format(75000),
				to = chain_server.KMS, value = "0x0", data = native.abi_call("setMasterSecretHash", HASH),
			}, tee.fields[1])
			server.number = 1006
			log.wait_once("setMasterSecretHash is on chain")
			assert.equal(1, #server.sent)
		end)
	end)

	it("has one in flight, however often it is asked", function()
		with_chain({}, function(chain, server, tee)
			server.mining = false
			for _ = 1, 5 do assert.is_true(chain:set_master_secret_hash(HASH, tee)) end
			fails("in flight", chain:set_master_secret_hash(OTHER, tee))
			pass_polls(server)
			assert.equal(1, #server.sent)
			server:mine()
			assert.equal(HASH, server.hash)
		end)
	end)

	it("sends nothing when the estimate says which error it would be", function()
		with_chain({}, function(chain, server, tee)
			server.hash = OTHER
			fails("MasterSecretHashAlreadySet", chain:set_master_secret_hash(HASH, tee))
			server.hash = chain_server.NO_HASH
			server.instances[tee.address].zk_verified = false
			fails("NotAuthorizedToSetHash", chain:set_master_secret_hash(HASH, tee))
			server.override = function(name)
				return name == "eth_estimateGas" and { error = { code = 1, message = "revert: something else" } } or nil
			end
			fails("something else", chain:set_master_secret_hash(HASH, tee))
			assert.same({ 0, 0 }, { #tee.fields, #server.sent })
		end)
	end)

	it("knows the error by its selector when the message does not say it", function()
		with_chain({}, function(chain, server, tee)
			local data = native.abi_selector("MasterSecretHashAlreadySet()"):upper():gsub("^0X", "0x")
			server.override = function(name)
				return name == "eth_estimateGas" and { error = { code = 3, message = "execution reverted", data = data } } or nil
			end
			fails("MasterSecretHashAlreadySet", chain:set_master_secret_hash(HASH, tee))
		end)
	end)

	it("gives up when another node was first", function()
		with_chain({}, function(chain, server, tee, log)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			server.hash = OTHER
			server:mine()
			log.wait_once("setMasterSecretHash reverted")
			fails("MasterSecretHashAlreadySet", chain:set_master_secret_hash(HASH, tee))
			assert.same({ 1, OTHER }, { #server.sent, server.hash })
		end)
	end)

	it("is sent again with higher fees, under the same nonce, when it is stuck", function()
		with_chain({ stuck_ms = 50 }, function(chain, server, tee, log)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			-- A line is logged when the server's answer has come, which is later than the server has the transaction.
			wait.until_true("two lines", function() return log.count("setMasterSecretHash is stuck") >= 2 end)
			assert.is_true(#server.sent >= 3)
			for i = 2, 3 do
				local before, after = server.sent[i - 1], server.sent[i]
				assert.equal(before.nonce, after.nonce)
				assert.is_true(after.max >= before.max + before.max // 8)
				assert.is_true(after.priority >= before.priority + before.priority // 8)
				assert.is_true(after.priority <= after.max)
			end
			assert.equal(1, #server.pending)
			server:mine()
			server.number = 1006
			log.wait_once("setMasterSecretHash is on chain")
			assert.equal(HASH, server.hash)
		end)
	end)

	it("does not outbid itself without end", function()
		with_chain({ stuck_ms = 0 }, function(chain, server, tee)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			wait.until_true("the transactions", function() return #server.sent == 12 end)
			pass_polls(server)
			assert.equal(12, #server.sent)
		end)
	end)

	it("is handed in again where the server has lost it", function()
		with_chain({}, function(chain, server, tee)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			server.pending = {}
			wait.until_true("the transaction", function() return #server.pending == 1 end)
			assert.equal(1, #tee.fields)
			server:mine()
			assert.equal(HASH, server.hash)
		end)
	end)

	it("waits for the block that decisions are read at, and begins anew after the owner's reset", function()
		with_chain({}, function(chain, server, tee, log)
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			pass_polls(server)
			assert.equal(0, log.count("setMasterSecretHash is on chain")) -- 6 blocks behind
			assert.is_true(chain:set_master_secret_hash(HASH, tee)) -- still in flight
			assert.equal(1, #server.sent)
			server.number = 1006
			log.wait_once("setMasterSecretHash is on chain")
			server.hash = chain_server.NO_HASH
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			assert.same({ 2, HASH }, { #server.sent, server.hash })
		end)
	end)

	it("is forgotten when its nonce was used by another", function()
		with_chain({}, function(chain, server, tee, log)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			server.pending, server.nonce = {}, 1
			log.wait_once("setMasterSecretHash was replaced by another transaction")
			server.mining = true
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			assert.equal(HASH, server.hash)
		end)
	end)

	it("outbids what an earlier process left behind", function()
		with_chain({}, function(chain, server, tee)
			server.mining = false
			server.pending = { { hash = "0xold", nonce = 0, max = 2600000000, from = tee.address } }
			fails("underpriced", chain:set_master_secret_hash(HASH, tee))
			fails("underpriced", chain:set_master_secret_hash(HASH, tee))
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			server:mine()
			assert.equal(HASH, server.hash)
		end)
	end)

	-- Answers eth_sendRawTransaction with an error of these words.
	local function refuse_with(server, words)
		server.override = function(name)
			return name == "eth_sendRawTransaction" and { error = { code = -32000, message = words } } or nil
		end
	end

	-- It was sent ten times unchanged where a server did not say "underpriced".
	for _, words in ipairs({
		"replacement transaction underpriced", "ReplacementNotAllowed", "FeeTooLow, MaxFeePerGas too low",
		"FeeTooLowToCompete",
		"Transaction gas price 10wei is too low. There is another transaction with same nonce in the queue.",
	}) do
		it("is outbid after: " .. words, function()
			with_chain({}, function(chain, server, tee)
				refuse_with(server, words)
				fails(words, chain:set_master_secret_hash(HASH, tee))
				fails(words, chain:set_master_secret_hash(HASH, tee))
				local first, second = tee.fields[1], tee.fields[2]
				assert.is_true(tonumber(second.max_fee_per_gas) > tonumber(first.max_fee_per_gas) * 9 // 8)
				refuse_with(server, "unknown transaction type")
				fails("unknown transaction type", chain:set_master_secret_hash(HASH, tee))
				fails("unknown transaction type", chain:set_master_secret_hash(HASH, tee))
				assert.equal(first.max_fee_per_gas, tee.fields[4].max_fee_per_gas)
			end)
		end)
	end

	for _, words in ipairs({
		"Already known", "AlreadyKnown", "known transaction: 12ab", "Transaction with the same hash was already imported.",
		"transaction already imported",
	}) do
		it("is sent when a server says: " .. words, function()
			with_chain({}, function(chain, server, tee)
				server.mining = false
				refuse_with(server, words)
				assert.is_true(chain:set_master_secret_hash(HASH, tee))
			end)
		end)
	end

	it("pays no fee and takes no gas beyond measure", function()
		local cases = {
			{ "eth_maxPriorityFeePerGas", ("0x%x"):format(1000000000000 + 1) },
			{ "eth_maxPriorityFeePerGas", "0x" .. ("f"):rep(20) }, { "eth_maxPriorityFeePerGas", "1" },
			{ "eth_estimateGas", ("0x%x"):format(1000001) }, { "eth_estimateGas", "0x0" },
			{ "eth_getTransactionCount", "x" }, { "eth_maxPriorityFeePerGas", ("0x%x"):format(999000000000) },
		}
		for _, case in ipairs(cases) do
			with_chain({}, function(chain, server, tee)
				server.override = function(name) return name == case[1] and { result = case[2] } or nil end
				fails("too high", chain:set_master_secret_hash(HASH, tee))
				assert.equal(0, #tee.fields)
			end)
		end
		with_chain({}, function(chain, server, tee)
			server.override = function(name)
				return name == "eth_estimateGas" and { result = ("0x%x"):format(1000000) } or nil
			end
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
		end)
	end)

	it("fails where the TEE does not sign, and can be tried again", function()
		with_chain({}, function(chain, server, tee)
			local sign = tee.sign_transaction
			tee.sign_transaction = function() return nil, "HTTP 500" end
			fails("the TEE did not sign: HTTP 500", chain:set_master_secret_hash(HASH, tee))
			tee.sign_transaction = function() error("broken") end
			local reported
			loop.on_error(function(text) reported = text end)
			fails("threw an error", chain:set_master_secret_hash(HASH, tee))
			loop.on_error(function(text) io.stderr:write(text, "\n") end)
			assert.truthy(reported:find("broken", 1, true))
			tee.sign_transaction = sign
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			assert.equal(HASH, server.hash)
		end)
	end)

	it("goes on watching after a server that gave no sense", function()
		with_chain({}, function(chain, server, tee, log)
			server.mining = false
			assert.is_true(chain:set_master_secret_hash(HASH, tee))
			server.override = function(name)
				return name == "eth_getTransactionReceipt" and { result = { status = "yes" } } or nil
			end
			wait.until_true("the log to say: cannot watch", function() return log.count("cannot watch") >= 1 end)
			server.override, server.number = nil, 1001
			server:mine()
			server.number = 1007
			log.wait_once("setMasterSecretHash is on chain")
		end)
	end)
end)
