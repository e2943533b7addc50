--- kms.chain.height: which heights of the chain are plausible, and how one that was wrong is forgotten.

local loopback = require("spec.support.loopback")
local on_chain = require("spec.support.evm")

local with_chain, fails = on_chain.with_chain, on_chain.fails

describe("the height of chain.evm", function()
	local ABSURD = 1 << 50
	local now

	before_each(function() now = { mono = 1000, wall = 1800000000000 } end)

	local function with_servers(count, body)
		local clock = { mono_ms = function() return now.mono end, wall_ms = function() return now.wall end }
		with_chain({ servers = count, clock = clock }, function(chain, _, log, servers)
			for _, server in ipairs(servers) do server.time_s = now.wall // 1000 end
			body(chain, servers, log)
		end)
	end

	local function pass(servers, seconds)
		now.mono, now.wall = now.mono + 1000 * seconds, now.wall + 1000 * seconds
		for _, server in ipairs(servers) do server.time_s = now.wall // 1000 end
	end

	it("is not taken from one server that is far ahead of all others", function()
		with_servers(2, function(chain, servers)
			assert(chain:begin_tick())
			servers[1].number = ABSURD
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
			servers[1].number = 1003
			pass(servers, 31) -- a server that failed is tried last for half a minute
			assert(chain:begin_tick())
			assert.equal(1003, chain:head().number)
		end)
	end)

	it("is not taken from one such server at the start either", function()
		with_servers(3, function(chain, servers)
			servers[2].number = ABSURD
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
		end)
	end)

	it("may jump when a second server says so", function()
		with_servers(2, function(chain, servers)
			assert(chain:begin_tick())
			servers[1].number, servers[2].number = 90000, 90001
			assert(chain:begin_tick())
			assert.is_true(chain:head().number >= 90000)
		end)
	end)

	it("may grow as fast as blocks are made while nobody looked", function()
		with_servers(1, function(chain, servers)
			assert(chain:begin_tick())
			pass(servers, 86400)
			servers[1].number = 1000 + 10 * 86400
			assert(chain:begin_tick())
		end)
	end)

	it("of the only server is believed after a jump that lasts, and not before", function()
		with_servers(1, function(chain, servers)
			assert(chain:begin_tick())
			servers[1].number = 900000
			fails("ERR_CHAIN", "jumped from 1000 to 900000", chain:begin_tick())
			pass(servers, 299)
			fails("ERR_CHAIN", "jumped", chain:begin_tick())
			pass(servers, 1)
			assert(chain:begin_tick())
		end)
	end)

	it("that was wrong is forgotten once nobody has shown it for a while", function()
		with_servers(1, function(chain, servers, log)
			servers[1].number = ABSURD -- nothing to compare it with
			assert(chain:begin_tick())
			servers[1].number = 1000
			fails("ERR_CHAIN", "fell", chain:begin_tick())
			pass(servers, 299)
			fails("ERR_CHAIN", "fell", chain:begin_tick())
			pass(servers, 1)
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
			assert.equal(1, log.count("the height fell"))
			servers[1].number = 900
			fails("ERR_CHAIN", "fell from 1000 to 900", chain:begin_tick())
		end)
	end)

	local function down() return loopback.reply("", nil, "500 Oops") end

	-- The honest first server has failed once, so that the second one is asked first, which has gone ahead as far as is
	-- plausible.
	local function lie_ahead(chain, servers)
		assert(chain:begin_tick())
		pass(servers, 60)
		servers[1].respond, servers[1].number, servers[2].number = down, 1030, 1600
		assert(chain:begin_tick())
		assert.equal(1600, chain:head().number)
		servers[1].respond, servers[2].respond = nil, down
	end

	it("grows by a few blocks and what the time allows, not by a thousand on one server's word", function()
		with_servers(2, function(chain, servers)
			assert(chain:begin_tick())
			servers[1].number = 1009
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
			servers[1].number = 1008
			pass(servers, 31)
			assert(chain:begin_tick())
			assert.equal(1008, chain:head().number)
		end)
	end)

	it("does not grow by what a server's own stamp runs ahead", function()
		with_servers(1, function(chain, servers)
			assert(chain:begin_tick())
			servers[1].number, servers[1].time_s = 1500, now.wall // 1000 + 250
			fails("ERR_CHAIN", "jumped from 1000 to 1500", chain:begin_tick())
		end)
	end)

	it("that one server alone has claimed does not lock the others out, though it claims it again", function()
		with_servers(2, function(chain, servers)
			lie_ahead(chain, servers)
			assert(chain:begin_tick())
			assert.equal(1030, chain:head().number)
			servers[2].respond, servers[2].number = nil, 1610
			pass(servers, 31)
			servers[1].number = 1046
			assert(chain:begin_tick())
			servers[2].respond, servers[1].number = down, 1047
			pass(servers, 2)
			assert(chain:begin_tick())
			assert.equal(1047, chain:head().number)
		end)
	end)

	it("may be taken back by the server that claimed it", function()
		with_servers(2, function(chain, servers)
			lie_ahead(chain, servers)
			servers[1].respond, servers[2].respond, servers[2].number = down, nil, 1031
			assert(chain:begin_tick())
			assert.equal(1031, chain:head().number)
		end)
	end)

	it("does not fall to that of a server that lags", function()
		with_servers(2, function(chain, servers)
			lie_ahead(chain, servers)
			servers[1].time_s = now.wall // 1000 - 61
			fails("ERR_CHAIN", "fell from 1600 to 1030", chain:begin_tick())
		end)
	end)

	it("that two servers have shown falls by the word of two only", function()
		with_servers(3, function(chain, servers)
			for _ = 1, 2 do assert(chain:begin_tick()) end -- of all, then of the first one
			servers[1].respond = down
			assert(chain:begin_tick()) -- of the second one
			servers[2].respond, servers[3].number = down, 900
			fails("ERR_CHAIN", "fell from 1000 to 900", chain:begin_tick())
			servers[2].respond, servers[2].number = nil, 899
			assert(chain:begin_tick())
			assert.is_true(chain:head().number <= 900)
		end)
	end)

	it("grows while its time goes on: a server that shows an old block with new times is refused", function()
		with_servers(2, function(chain, servers)
			assert(chain:begin_tick())
			servers[2].number = 1015
			pass(servers, 30) -- a block may be replaced by one of a little later
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
			pass(servers, 1)
			assert(chain:begin_tick())
			assert.equal(1015, chain:head().number)
			servers[2].respond = down
			fails("ERR_CHAIN", "stayed at 1000 while its time went on", chain:begin_tick())
		end)
	end)
end)
