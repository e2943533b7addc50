--- kms.chain.head: the block that kms.chain.evm reads at.

local loopback = require("spec.support.loopback")
local on_chain = require("spec.support.evm")

local with_chain, fails = on_chain.with_chain, on_chain.fails

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

	-- A server that lacks the state of every block but the newest, `times` times.
	local function without_old_state(server, times)
		server.override = function(_, call)
			if call.method ~= "eth_call" or call.params[2] == "latest" or times == 0 then return nil end
			times = times - 1
			return { error = { code = -32000, message = "missing trie node 5a" } }
		end
	end

	it("is the newest where the server keeps no old state", function()
		with_chain({}, function(chain, server, log)
			without_old_state(server, -1)
			assert(chain:begin_tick())
			assert.same({ confirmations = 6, unconfirmed = false }, chain:describe())
			assert.truthy(chain:app("7"))
			assert.equal("latest", server.tags[#server.tags])
			server.tags = {}
			assert(chain:begin_tick())
			assert.truthy(chain:app("7"))
			assert.truthy(assert(chain:snapshot()):app("7"))
			assert.same({ "latest", "latest" }, server.tags) -- not tried in vain each time
			assert.same({ confirmations = 6, unconfirmed = true }, chain:describe())
			assert.equal(1, log.count("the RPC servers keep no old state"))
		end)
	end)

	it("keeps its confirmations after one odd answer of one server", function()
		with_chain({}, function(chain, server, log)
			without_old_state(server, 1)
			assert(chain:begin_tick())
			assert.truthy(chain:app("7"))
			assert.equal("0x3e2", server.tags[#server.tags])
			assert.is_false(chain:describe().unconfirmed)
			assert.equal(0, log.count("the RPC servers keep no old state"))
		end)
	end)

	it("needs a second server's answer to be the newest, where there are several", function()
		with_chain({ servers = 2 }, function(chain, server, log, servers)
			without_old_state(server, -1)
			assert(chain:begin_tick())
			servers[2].respond = function() return loopback.reply("", nil, "500 Oops") end
			fails("ERR_CHAIN", "missing trie node", chain:app("7"))
			assert.equal(0, log.count("the RPC servers keep no old state"))
			servers[2].respond = nil
			without_old_state(servers[2], -1)
			assert.truthy(chain:app("7"))
			assert.is_true(chain:describe().unconfirmed)
		end)
	end)

	it("is the newest where the only server that answers says so for a tick, until another one answers", function()
		local now = { mono = 1000 }
		local clock = { mono_ms = function() return now.mono end }
		with_chain({ servers = 3, clock = clock }, function(chain, server, log, servers)
			local function down() return loopback.reply("", nil, "500 Oops") end
			without_old_state(server, -1)
			servers[2].respond, servers[3].respond = down, down
			for _ = 1, 5 do
				assert(chain:begin_tick())
				fails("ERR_CHAIN", "missing trie node", chain:app("7"))
				now.mono = now.mono + 11900
			end
			assert.is_false(chain:describe().unconfirmed)
			now.mono = now.mono + 500
			assert(chain:begin_tick())
			assert.truthy(chain:app("7"))
			assert.is_true(chain:describe().unconfirmed)
			assert.equal(1, log.count("the only RPC server that answers keeps no old state"))
			-- Whatever else an answer says, the word of one server no longer suffices.
			servers[3].respond = nil
			now.mono = now.mono + 31000
			server.respond = down
			assert(chain:begin_tick())
			assert.equal("0x3e2", tag_of(chain, servers[3]))
			assert.is_false(chain:describe().unconfirmed)
		end)
	end)

	it("is not the newest where another server answers now and then", function()
		local now = { mono = 1000 }
		local clock = { mono_ms = function() return now.mono end }
		with_chain({ servers = 2, clock = clock }, function(chain, server, log, servers)
			local function down() return loopback.reply("", nil, "500 Oops") end
			without_old_state(server, -1)
			for i = 1, 20 do
				servers[2].respond = i % 4 ~= 0 and down or nil
				if chain:begin_tick() then chain:app("7") end
				now.mono = now.mono + 10000
			end
			assert.is_false(chain:describe().unconfirmed)
			assert.equal(0, log.count("the only RPC server"))
		end)
	end)

	it("has its confirmations again within a minute of the state's return, and each change is logged", function()
		local now = { mono = 1000 }
		with_chain({ clock = { mono_ms = function() return now.mono end } }, function(chain, server, log)
			without_old_state(server, -1)
			for change = 1, 2 do
				assert.equal("latest", tag_of(chain, server))
				assert.equal(change, log.count("the RPC servers keep no old state"))
				now.mono = now.mono + 60000
			end
			server.override = nil
			assert.equal("0x3e2", tag_of(chain, server))
			assert.is_false(chain:describe().unconfirmed)
			assert.equal(1, log.count("reading with confirmations again"))
		end)
	end)

	it("is not the newest only because a read failed for another reason", function()
		with_chain({}, function(chain, server, log)
			server.override = function(_, call)
				if call.method ~= "eth_call" then return nil end
				return { error = { code = -32603, message = "limit exceeded" } }
			end
			assert(chain:begin_tick())
			fails("ERR_CHAIN", "limit exceeded", chain:app("7"))
			for _, tag in ipairs(server.tags) do assert.equal("0x3e2", tag) end
			assert.equal(0, log.count("the RPC servers keep no old state"))
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
	local function with_two(body)
		on_chain.with_agreeing({}, function(chain, servers, log) body(chain, servers[1], servers[2], log) end)
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
