--- kms.chain.evm on a chain server: what it reads, and that malformed responses are failures.

local chain_server = require("spec.support.chain_server")
local loopback = require("spec.support.loopback")
local on_chain = require("spec.support.evm")

local NODE, PEER, APP = on_chain.NODE, on_chain.PEER, on_chain.APP
local STRANGER = "0x" .. ("ab"):rep(20)
local with_chain, fails = on_chain.with_chain, on_chain.fails

describe("chain.evm", function()
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

	it("reads a tick like the one before in two round trips, and what is new besides", function()
		with_chain({}, function(chain, server)
			local function tick(hash)
				server.requests = 0
				assert(chain:begin_tick())
				local wallets = chain:active_instances("49")
				for _, wallet in ipairs(wallets) do assert(chain:instance_by_wallet(wallet)) end
				assert(chain:version("49", "1"))
				if hash then assert(chain:master_secret_hash()) end
				return #wallets, server.requests
			end
			assert.same({ 2, 5 }, { tick(true) })
			assert.same({ 2, 2 }, { tick(true) })
			server:register("49", STRANGER, NODE.der)
			assert.same({ 3, 3 }, { tick(true) })
			server.calls = {}
			assert.same({ 3, 2 }, { tick(false) })
			assert.equal(1, server.calls["eth_call:masterSecretHash"])
			assert.same({ 3, 2 }, { tick(false) })
			assert.equal(1, server.calls["eth_call:masterSecretHash"]) -- nobody had asked for it again
		end)
	end)

	-- Reads what a tick reads. Returns whether the chain says that nothing has changed since the last time, and requests.
	local function ticks(chain, server)
		local last
		return function()
			server.requests = 0
			assert(chain:begin_tick())
			local contents = assert(chain:contents())
			local is_same = contents == last
			assert.equal(contents, chain:contents())
			if not is_same then
				for _, wallet in ipairs(assert(chain:active_instances("49"))) do
					assert(chain:version("49", assert(chain:instance_by_wallet(wallet)).version_id))
				end
			end
			chain:master_secret_hash()
			last = contents
			return is_same, server.requests
		end
	end

	it("says at a tick that nothing has changed where the servers give the same bytes at another block", function()
		with_chain({}, function(chain, server)
			local tick = ticks(chain, server)
			assert.same({ false, 5 }, { tick() })
			for _ = 1, 3 do
				server.number = server.number + 1
				assert.same({ true, 2 }, { tick() })
			end
			local peer = server.instances[PEER.wallet]
			local function paused(name)
				return name == "eth_call:masterSecretHash" and chain_server.revert("Paused") or nil
			end
			for _, change in ipairs({
				function() peer.url = "http://127.0.0.1:2" end, function() peer.url = "http://127.0.0.1:1" end,
				function() peer.status = 1 end, function() peer.status = 0 end,
				function() peer.zk_verified = false end, function() peer.app_id = "7" end, function() peer.app_id = "49" end,
				function() server.versions["49/1"].status = 1 end,
				function() server.hash = "0x" .. ("12"):rep(32) end,
				function() server:register("49", STRANGER, NODE.der) end, function() server.instances[STRANGER] = nil end,
				function() server.override = paused end,
				function() server.override = nil end,
			}) do
				change()
				local is_same = tick()
				assert.is_false(is_same)
				assert.same({ true, 2 }, { tick() })
			end
			assert.equal(server.hash, chain:master_secret_hash())
		end)
	end)

	it("says nothing of the kind after a tick that failed, nor of what it has not read", function()
		with_chain({}, function(chain, server)
			local tick = ticks(chain, server)
			fails("ERR_CHAIN", "there is no view of the chain", chain:contents())
			assert.is_false((tick()))
			server.override = function(name) return name == "eth_call:getVersion" and { result = "0x01" } or nil end
			assert(chain:begin_tick())
			fails("ERR_CHAIN", "getVersion", chain:contents())
			server.override = nil
			assert.is_false((tick()))
			server.respond = function() return loopback.reply("", "", "500 No") end
			assert.is_nil((chain:begin_tick()))
			server.respond = nil
			assert.is_false((tick()))
			assert.is_true((tick()))
		end)
	end)

	it("has two servers agree on what has not changed, too", function()
		on_chain.with_agreeing({}, function(chain, servers)
			local tick = ticks(chain, servers[1])
			assert.same({ false, true }, { (tick()), (tick()) })
			servers[2].instances[PEER.wallet].url = "http://127.0.0.1:3"
			assert(chain:begin_tick())
			fails("ERR_CHAIN", "the RPC servers disagree", chain:contents())
		end)
	end)

	it("expects as much as one call of a server holds, and nothing of a tick of more", function()
		with_chain({}, function(chain, server)
			local function requests_of_tick()
				server.requests = 0
				assert(chain:begin_tick())
				assert(chain:active_instances("49"))
				return server.requests
			end
			for i = 1, 44 do server:register("49", ("0x%040x"):format(i), NODE.der) end
			assert.equal(4, requests_of_tick()) -- the list, 46 instances and a version: 48
			assert.equal(2, requests_of_tick())
			server:register("49", ("0x%040x"):format(45), NODE.der)
			assert.equal(3, requests_of_tick())
			assert.equal(4, requests_of_tick()) -- 49
		end)
	end)

	it("does not say that nothing has changed after a tick that read more than is kept", function()
		with_chain({}, function(chain, server)
			local tick, ids = ticks(chain, server), {}
			assert.same({ false, true }, { (tick()), (tick()) })
			for i = 1, 10001 do ids[i] = tostring(i) end
			assert(chain.tick:prefetch_apps(ids))
			assert(chain:app("49"))
			server.instances[PEER.wallet].status = 1
			assert.same({ false, true }, { (tick()), (tick()) })
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
		local clock = { mono_ms = function() return 1000 end } -- stands still: a head of now is used for a second
		with_chain({ clock = clock }, function(chain, server)
			local view = assert(chain:snapshot())
			server.requests = 0
			assert(view:prefetch(APP.wallet))
			assert.equal(2, server.requests)
			assert(view:instance_by_wallet(APP.wallet) and view:app("7") and view:version("7", "1"))
			assert.equal(2, server.requests)
			view = assert(chain:snapshot())
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

	it("looks several applications up in one round trip, known and unknown ones", function()
		with_chain({}, function(chain, server)
			local view = assert(chain:snapshot())
			server.requests = 0
			assert.is_true(view:prefetch_apps({ "7", "8", "9" }))
			assert.equal("7", view:app("7").id)
			fails("ERR_NOT_FOUND", "", view:app("9"))
			assert.equal(1, server.requests)
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
