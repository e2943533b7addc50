--- The head of kms.chain.head where two servers must agree: one that lies about its newest block.

local on_chain = require("spec.support.evm")

local fails = on_chain.fails

describe("the head in an enclave, where one of the servers lies", function()
	local START_S = 1800000000
	local now

	before_each(function() now = { mono = 1000, wall = START_S * 1000 } end)

	-- Makes every server's chain `count` blocks longer, one each two seconds.
	local function grow(servers, count)
		for _, server in ipairs(servers) do
			server.number = server.number + count
			for number = server.number - count, server.number do
				server.times[number] = START_S + 2 * (number - 1000)
			end
		end
		now.mono, now.wall = now.mono + 2000 * count, now.wall + 2000 * count
	end

	local function with_servers(count, body)
		local clock = { mono_ms = function() return now.mono end, wall_ms = function() return now.wall end }
		on_chain.with_agreeing({ servers = count, clock = clock }, function(chain, servers)
			for _, server in ipairs(servers) do
				server.number = 990
				for number = 980, 990 do server.times[number] = START_S + 2 * (number - 1000) end
			end
			now.wall = now.wall - 20000
			grow(servers, 10)
			body(chain, servers)
		end)
	end

	-- Has a server claim a newest block, whatever it has.
	local function claim(server, number, time_s)
		server.override = function(name, call)
			if name ~= "eth_getBlockByNumber" or call.params[1] ~= "latest" then return nil end
			return { result = {
				number = ("0x%x"):format(number), timestamp = ("0x%x"):format(time_s), hash = "0x" .. ("f"):rep(64),
			} }
		end
	end

	local function time_s(chain) return chain:head().time_ms // 1000 end

	it("has the time of the block that both have, so that an old block ages whatever its stamp", function()
		with_servers(2, function(chain, servers)
			assert(chain:begin_tick())
			claim(servers[1], 1000, START_S + 30)
			grow(servers, 15)
			assert(chain:begin_tick())
			assert.same({ 1000, START_S }, { chain:head().number, time_s(chain) })
			grow(servers, 1)
			claim(servers[1], 1000, START_S + 32)
			fails("ERR_CHAIN", "stayed at 1000", chain:begin_tick())
		end)
	end)

	it("is refused when that block is too old, though its stamp was new from the start", function()
		with_servers(2, function(chain, servers)
			grow(servers, 151)
			claim(servers[1], 1000, START_S + 302)
			fails("ERR_CHAIN", "302 s old", chain:begin_tick())
		end)
	end)

	for name, difference_s in pairs({ ahead = 250, back = -290 }) do
		it("has the true time where one stamps " .. name, function()
			with_servers(3, function(chain, servers)
				claim(servers[1], 1000, START_S + difference_s)
				assert(chain:begin_tick())
				assert.equal(START_S, time_s(chain))
				grow(servers, 1)
				claim(servers[1], 1001, START_S + 2 + difference_s)
				claim(servers[2], 1002, START_S + 4) -- has reached one more
				assert(chain:begin_tick())
				assert.equal(START_S + 2, time_s(chain))
			end)
		end)
	end

	it("is the block that is read at, where they differ on the newest", function()
		with_servers(2, function(chain, servers)
			servers[1].override = function(name, call)
				if name ~= "eth_getBlockByNumber" or call.params[1] == "0x3e2" then return nil end
				return { result = {
					number = "0x3e8", timestamp = ("0x%x"):format(START_S + 250), hash = "0x" .. ("f"):rep(64),
				} }
			end
			assert(chain:begin_tick())
			assert.same({ 994, START_S - 12 }, { chain:head().number, time_s(chain) })
		end)
	end)

	it("is none where they have no block in common", function()
		with_servers(2, function(chain, servers)
			servers[1].hash_of = function() return "0x" .. ("e"):rep(64) end
			fails("ERR_CHAIN", "disagree", chain:begin_tick())
		end)
	end)

	it("is the same block where servers know different members of it", function()
		with_servers(2, function(chain, servers)
			servers[1].override = function(name, call)
				if name ~= "eth_getBlockByNumber" or call.params[1] == "latest" then return nil end
				return { result = {
					number = "0x3e8", timestamp = ("0x%x"):format(START_S), hash = ("0x%064x"):format(1000), size = "0x1",
				} }
			end
			assert(chain:begin_tick())
			assert.equal(1000, chain:head().number)
		end)
	end)
end)
