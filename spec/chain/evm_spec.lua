--- The EVM backend against a chain on loopback: which block is read, what counts as an
-- answer, and that no answer that is not well formed counts as one.

local chain_server = require("spec.support.chain_server")
local evm = require("kms.chain.evm")
local loopback = require("spec.support.loopback")
local native = require("spec.support.native")

local function identity()
	local wallet, p384 = native.identity(native.secret_random(32))
	return { wallet = wallet:address(), der = p384:public_der(), handle = wallet }
end

local NODE, PEER, APP = identity(), identity(), identity()
local STRANGER = "0x" .. ("ab"):rep(20)

-- Runs body(chain, server, log) with the backend on one server, or options.servers of them.
local function with_chain(options, body)
	loopback.run(function()
		local servers, urls = {}, {}
		for i = 1, options.servers or 1 do
			local server = chain_server.start()
			server:register("49", NODE.wallet, NODE.der)
			server:register("49", PEER.wallet, PEER.der)
			server:register("7", APP.wallet, APP.der)
			servers[i], urls[i] = server, server.url
		end
		local log, clock = chain_server.log(), options.clock or {}
		local chain = assert(evm.open({
			config = chain_server.config(urls, options.config), log = log, wall_ms = clock.wall_ms or native.wall_ms,
			mono_ms = clock.mono_ms,
		}))
		body(chain, servers[1], log, servers)
		chain:close()
	end)
end

local function fails(code, pattern, value, message, got)
	assert.is_nil(value)
	assert.equal(code, got)
	assert.truthy(message:find(pattern, 1, true), message)
end

describe("chain.evm", function()
	it("needs the contracts' addresses", function()
		for _, key in ipairs({ "NOVA_APP_REGISTRY_ADDRESS", "KMS_REGISTRY_ADDRESS" }) do
			local config = chain_server.config({ "http://127.0.0.1:1" })
			config[key] = nil
			local chain, message = evm.open({ config = config, log = chain_server.log(), wall_ms = native.wall_ms })
			assert.is_nil(chain)
			assert.truthy(message:find(key, 1, true))
		end
	end)

	it("reads apps, versions, instances, members and the hash", function()
		with_chain({}, function(chain, server)
			assert.is_true(chain:begin_tick())
			assert.same({ id = "7", status = 0 }, chain:app("7"))
			assert.same({ id = "1", status = 0 }, chain:version("7", "1"))
			local instance = chain:instance_by_wallet(APP.wallet)
			assert.same({
				id = "3", app_id = "7", version_id = "1", operator = APP.wallet, wallet = APP.wallet,
				url = "http://127.0.0.1:1", tee_pubkey = APP.der, zk_verified = true, status = 0, registered_at = 1700000000,
			}, instance)
			local wallets = chain:active_instances("49")
			table.sort(wallets)
			local expected = { NODE.wallet, PEER.wallet }
			table.sort(expected)
			assert.same(expected, wallets)
			assert.same({}, chain:active_instances("50"))
			assert.equal(chain_server.NO_HASH, chain:master_secret_hash())
			server.hash = "0x" .. ("5a"):rep(32)
			assert.equal(chain_server.NO_HASH, chain:master_secret_hash()) -- the tick's view
			assert.is_true(chain:begin_tick())
			assert.equal(server.hash, chain:master_secret_hash())
		end)
	end)

	it("gives ids of 64 bits as text", function()
		with_chain({}, function(chain, server)
			local largest = "18446744073709551615"
			server:register(largest, STRANGER, APP.der)
			assert(chain:begin_tick())
			assert.equal(largest, chain:instance_by_wallet(STRANGER).app_id)
			assert.equal(largest, chain:app(largest).id)
		end)
	end)

	it("knows unknown wallets, apps and versions by zeros and by reverts", function()
		for _, override in ipairs({ false, function(name)
			return name:find(":get") and chain_server.revert("NotFound") or nil
		end }) do
			with_chain({}, function(chain, server)
				server.override = override or nil
				assert(chain:begin_tick())
				fails("ERR_NOT_FOUND", "wallet", chain:instance_by_wallet(STRANGER))
				fails("ERR_NOT_FOUND", "app", chain:app("8"))
				fails("ERR_NOT_FOUND", "version", chain:version("7", "2"))
				assert.same({}, chain:active_instances("8"))
			end)
		end
	end)

	it("does not take another wallet's instance, another app or another version", function()
		with_chain({}, function(chain, server)
			server.instances[STRANGER] = server.instances[APP.wallet]
			server.apps["8"], server.versions["7/2"] = server.apps["7"], server.versions["7/1"]
			assert(chain:begin_tick())
			fails("ERR_NOT_FOUND", "wallet", chain:instance_by_wallet(STRANGER))
			fails("ERR_CHAIN", "another app", chain:app("8"))
			fails("ERR_CHAIN", "another version", chain:version("7", "2"))
		end)
	end)

	it("has no view before a tick, nor after one that failed", function()
		with_chain({}, function(chain, server)
			fails("ERR_CHAIN", "no view", chain:head())
			fails("ERR_CHAIN", "no view", chain:master_secret_hash())
			fails("ERR_CHAIN", "no view", chain:active_instances("49"))
			assert(chain:begin_tick())
			assert.truthy(chain:head())
			server.time_s = 5
			fails("ERR_CHAIN", "s old", chain:begin_tick())
			fails("ERR_CHAIN", "no view", chain:app("7"))
		end)
	end)

	it("reads a tick in a few round trips, however many members there are", function()
		with_chain({}, function(chain, server)
			for i = 1, 40 do server:register("49", ("0x%040x"):format(i), NODE.der) end
			assert(chain:begin_tick())
			local wallets = chain:active_instances("49")
			assert.equal(42, #wallets)
			for _, wallet in ipairs(wallets) do
				assert.equal(wallet, chain:instance_by_wallet(wallet).wallet)
				assert(chain:version("49", "1"))
			end
			chain:master_secret_hash()
			assert.equal(5, server.requests) -- head, list, instances, versions, hash
			assert.equal(1, server.calls["eth_call:getVersion"])
		end)
	end)

	it("refuses more members than it can hold", function()
		local function list(count)
			local words = { chain_server.word(32), chain_server.word(count) }
			for i = 1, count do words[i + 2] = chain_server.address_word(("0x%040x"):format(i)) end
			return { result = "0x" .. table.concat(words) }
		end
		with_chain({}, function(chain, server)
			server.override = function(name) return name == "eth_call:getActiveInstances" and list(1000) or nil end
			assert(chain:begin_tick())
			assert.equal(1000, #assert(chain:active_instances("49")))
			server.override = function(name) return name == "eth_call:getActiveInstances" and list(1001) or nil end
			assert(chain:begin_tick())
			fails("ERR_CHAIN", "more than 1000", chain:active_instances("49"))
		end)
	end)

	it("looks a caller up in two round trips, and one that it knows in one", function()
		with_chain({}, function(chain, server)
			local view = assert(chain:snapshot())
			server.requests = 0
			assert(view:prefetch(APP.wallet))
			assert.equal(2, server.requests)
			assert(view:instance_by_wallet(APP.wallet) and view:app("7") and view:version("7", "1"))
			assert.equal(2, server.requests)
			view = assert(chain:snapshot()) -- the head is not a second old
			assert(view:prefetch(APP.wallet, { app_id = "7", version_id = "1" }))
			assert(view:instance_by_wallet(APP.wallet) and view:app("7") and view:version("7", "1"))
			assert.equal(3, server.requests)
			view = assert(chain:snapshot())
			assert(view:prefetch(APP.wallet, { app_id = "7", version_id = "9" })) -- it has moved since
			assert(view:version("7", "1"))
			assert.equal(5, server.requests)
			view = assert(chain:snapshot())
			assert(view:prefetch(STRANGER))
			assert.equal(6, server.requests)
		end)
	end)

	it("reads past the tick's view when told so", function()
		with_chain({}, function(chain, server)
			assert(chain:begin_tick())
			assert.equal(0, chain:instance_by_wallet(APP.wallet).status)
			server.instances[APP.wallet].status, server.apps["7"].status, server.versions["7/1"].status = 1, 2, 2
			assert.equal(0, chain:instance_by_wallet(APP.wallet).status)
			assert.equal(1, chain:instance_by_wallet(APP.wallet, { fresh = true }).status)
			assert.equal(2, chain:app("7", { fresh = true }).status)
			assert.equal(2, chain:version("7", "1", { fresh = true }).status)
		end)
	end)
end)

describe("chain.evm takes for no answer", function()
	local DYNAMIC = chain_server.tuple
	local W, A = chain_server.word, chain_server.address_word

	local function instance_words(change)
		local words = { W(3), W(7), W(1), A(APP.wallet), { "http://x" }, { APP.der }, A(APP.wallet), W(1), W(0), W(5) }
		change(words)
		return DYNAMIC(words)
	end

	for name, result in pairs({
		["nothing"] = "0x", ["half a word"] = "0x" .. ("0"):rep(32), ["no hex"] = "0xzz", ["no text"] = 5,
		["a list"] = { "0x" }, ["an empty text"] = "",
		["an id beyond 64 bits"] = instance_words(function(w) w[1] = ("f"):rep(64) end),
		["a dirty address"] = instance_words(function(w) w[7] = ("1"):rep(64) end),
		["a boolean of 2"] = instance_words(function(w) w[8] = W(2) end),
		["a status beyond a byte"] = instance_words(function(w) w[9] = W(256) end),
		["a string outside"] = instance_words(function(w) w[5] = W(100000) end),
		["a string into the struct"] = instance_words(function(w) w[5] = W(32) end),
		["an outer offset outside"] = "0x" .. W(1 << 40) .. ("0"):rep(640),
	}) do
		it("an instance that is " .. name, function()
			with_chain({}, function(chain, server)
				server.override = function(call)
					return call == "eth_call:getInstanceByWallet" and { result = result } or nil
				end
				assert(chain:begin_tick())
				local instance, message, code = chain:instance_by_wallet(APP.wallet)
				assert.is_nil(instance)
				assert.equal("ERR_CHAIN", code)
				assert.is_string(message)
				assert.truthy(chain:app("7")) -- the rest goes on
			end)
		end)
	end

	it("a hash that is none, or that reverts", function()
		for _, given in ipairs({ { result = "0x" }, { result = "0x12" }, chain_server.revert("Nothing") }) do
			with_chain({}, function(chain, server)
				server.override = function(call) return call == "eth_call:masterSecretHash" and given or nil end
				assert(chain:begin_tick())
				local hash, _, code = chain:master_secret_hash()
				assert.is_nil(hash)
				assert.equal("ERR_CHAIN", code)
			end)
		end
	end)

	it("a head without its parts", function()
		for _, block in ipairs({
			{ number = "0x3e8" }, { timestamp = "0x1" }, { number = "1000", timestamp = "0x1" },
			{ number = 1000, timestamp = 1 },
			{ number = "0x" .. ("f"):rep(16), timestamp = "0x1" }, { number = "0x1", timestamp = "0x" .. ("f"):rep(12) }, 5,
		}) do
			with_chain({}, function(chain, server)
				server.override = function(call) return call == "eth_getBlockByNumber" and { result = block } or nil end
				assert.is_nil((chain:begin_tick()))
			end)
		end
	end)

	it("a chain that does not answer, now or after it did", function()
		with_chain({}, function(chain, server)
			assert(chain:begin_tick())
			server.respond = function() return loopback.reply("", nil, "500 Oops") end
			fails("ERR_CHAIN", "500", chain:app("7"))
			fails("ERR_CHAIN", "500", chain:begin_tick())
			server.respond = nil
			assert(chain:begin_tick())
			assert.truthy(chain:app("7"))
		end)
	end)
end)

describe("the block of chain.evm", function()
	local function tag_of(chain, server)
		assert(chain:begin_tick())
		chain:app("7")
		return server.tags[#server.tags]
	end

	it("is as many blocks behind the head as confirmations are wanted", function()
		with_chain({}, function(chain, server)
			assert.equal("0x3e2", tag_of(chain, server)) -- 994
			assert.same({ 1000, 994 }, { chain:head().number, chain:head().read_at })
		end)
		with_chain({ config = { CHAIN_CONFIRMATIONS = 0 } }, function(chain, server)
			assert.equal("0x3e8", tag_of(chain, server))
		end)
		with_chain({}, function(chain, server)
			server.number = 5
			assert.equal("0x0", tag_of(chain, server))
		end)
	end)

	it("is the same for a whole tick, whatever the chain does", function()
		with_chain({}, function(chain, server)
			assert(chain:begin_tick())
			server.tags = {}
			chain:active_instances("49")
			server.number = 2000
			chain:app("7")
			chain:master_secret_hash()
			for _, tag in ipairs(server.tags) do assert.equal("0x3e2", tag) end
			assert.is_true(#server.tags >= 5)
		end)
	end)

	it("is the newest where the server keeps no old state, which is told once", function()
		with_chain({}, function(chain, server, log)
			server.override = function(_, call)
				if call.method ~= "eth_call" or call.params[2] == "latest" then return nil end
				return { error = { code = -32000, message = "missing trie node 5a" } }
			end
			assert(chain:begin_tick())
			assert.truthy(chain:app("7"))
			assert.equal("latest", server.tags[#server.tags])
			server.tags = {}
			assert(chain:begin_tick())
			assert.truthy(chain:app("7"))
			assert.truthy(assert(chain:snapshot()):app("7"))
			assert.same({ "latest", "latest" }, server.tags) -- not tried in vain each time
			assert.equal(1, log.count("the RPC server keeps no old state"))
		end)
	end)

	it("is not the newest only because a read failed for another reason", function()
		with_chain({}, function(chain, server, log)
			server.override = function(_, call)
				if call.method ~= "eth_call" then return nil end
				return { error = { code = -32005, message = "limit exceeded" } }
			end
			assert(chain:begin_tick())
			fails("ERR_CHAIN", "limit exceeded", chain:app("7"))
			for _, tag in ipairs(server.tags) do assert.equal("0x3e2", tag) end
			assert.equal(0, log.count("the RPC server keeps no old state"))
		end)
	end)

	it("is of the chain that was found at the start, or that is configured", function()
		with_chain({}, function(chain, server)
			assert(chain:begin_tick())
			server.chain_id = 1
			fails("ERR_CHAIN", "chain id 1 instead of 84532", chain:begin_tick())
			server.chain_id = 84532
			assert(chain:begin_tick())
		end)
		with_chain({ config = { CHAIN_ID = 8453 } }, function(chain, server)
			fails("ERR_CHAIN", "chain id 84532 instead of 8453", chain:begin_tick())
			server.chain_id = 8453
			assert(chain:begin_tick())
		end)
	end)

	it("has a head of an age up to the limit, in both directions", function()
		local now = { wall = 1800000000000 }
		with_chain({ clock = { wall_ms = function() return now.wall end } }, function(chain, server)
			server.time_s = 1800000000
			for _, case in ipairs({ { 300000, true }, { 300001, nil }, { -300000, true }, { -300001, nil } }) do
				now.wall = 1800000000000 + case[1]
				assert.equal(case[2], (chain:begin_tick()), case[1])
			end
		end)
	end)

	it("never falls by more than the confirmations", function()
		with_chain({}, function(chain, server)
			assert(chain:begin_tick())
			server.number = 994
			assert(chain:begin_tick())
			server.number = 993
			fails("ERR_CHAIN", "fell from 1000 to 993", chain:begin_tick())
			server.number = 1001
			assert(chain:begin_tick())
		end)
	end)

	it("comes from the next server where one is frozen", function()
		with_chain({ servers = 2 }, function(chain, frozen, _, servers)
			frozen.time_s, servers[2].number = 1700000000, 1500
			assert(chain:begin_tick())
			assert.equal(1500, chain:head().number)
		end)
	end)

	it("is asked for once by callers at the same time, and not again within a second", function()
		local parallel = require("kms.async.parallel")
		local now = { mono = 0 }
		with_chain({ clock = { mono_ms = function() return now.mono end } }, function(chain, server)
			parallel.map({ 1, 2, 3, 4, 5 }, 5, function() return assert(chain:snapshot()) end)
			assert.equal(1, server.requests)
			now.mono = 999
			chain:snapshot()
			assert.equal(1, server.requests)
			now.mono = 1000
			chain:snapshot()
			assert.equal(2, server.requests)
		end)
	end)
end)

describe("chain.evm in an enclave with servers elsewhere", function()
	-- Names of loopback addresses that types.all_loopback does not know as such.
	local function with_two(body)
		local types = require("kms.config.types")
		local real = types.all_loopback
		types.all_loopback = function() return false end -- luacheck: ignore 122
		finally(function() types.all_loopback = real end) -- luacheck: ignore 122
		with_chain({ servers = 2, config = { IN_ENCLAVE = true } }, function(chain, one, log, servers)
			body(chain, one, servers[2], log)
		end)
	end

	it("reads at a block that two servers have reached", function()
		with_two(function(chain, one, two)
			one.number = 1010
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
			assert.truthy(chain:app("7"))
			assert.same({ one.tags[1], two.tags[1] }, { "0x3e2", "0x3e2" })
		end)
	end)

	it("believes neither where they differ", function()
		with_two(function(chain, one)
			one.apps["7"].status = 1
			assert(chain:begin_tick())
			fails("ERR_CHAIN", "disagree", chain:app("7"))
			assert.equal("1", chain:version("7", "1").id)
		end)
	end)

	it("believes neither where they are on different chains", function()
		with_two(function(chain, one)
			one.chain_id = 1
			fails("ERR_CHAIN", "different chains", chain:begin_tick())
		end)
	end)

	it("has no answer from one server alone", function()
		with_two(function(chain, one)
			one.respond = function() return loopback.reply("", nil, "500 Oops") end
			fails("ERR_CHAIN", "500", chain:begin_tick())
		end)
	end)
end)
