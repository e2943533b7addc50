-- One client's requests must not take the time that others need: turns by address, pauses beyond a limit.

local uv = require("luv")
local raw = require("support.raw_http")
local http = require("kms.http.server")
local turns = require("kms.http.turns")
local wait = require("spec.support.wait")

local GET = "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"

describe("turns", function()
	-- The order of turns of connections, each named by its network, address and number.
	local function order_of(conns)
		local given = {}
		local list = turns.new(function(conn) given[#given + 1] = conn end)
		finally(function() list:close() end) -- luacheck: ignore 122
		for _, conn in ipairs(conns) do list:add({ conn:sub(1, 1), conn:sub(1, 2) }, conn) end
		wait.until_true("all turns", function() return #given == #conns end)
		return given
	end

	it("go round the addresses, and within an address round its connections", function()
		assert.same({ "aa1", "bb1", "cc1", "aa2", "bb2", "aa3" },
			order_of({ "aa1", "aa2", "aa3", "bb1", "bb2", "cc1" }))
	end)

	it("go round the networks first, however many addresses one has", function()
		assert.same({ "na1", "bb1", "nb1", "bb2", "nc1", "nd1", "na2" },
			order_of({ "na1", "nb1", "nc1", "nd1", "na2", "bb1", "bb2" }))
	end)

	it("are taken by who adds itself meanwhile too, and end with close", function()
		local given, list = 0, nil
		list = turns.new(function(conn)
			given = given + 1
			if given < 1000 then list:add({ "a", "a" }, conn) end
		end)
		list:add({ "a", "a" }, "conn")
		wait.until_true("all turns", function() return given == 1000 end)
		list:close()
		list:add({ "a", "a" }, "conn")
		for _ = 1, 3 do uv.run("nowait") end
		assert.equal(1000, given)
	end)
end)

describe("a server", function()
	local server, handled, handled_ms, pieces

	-- A reply that never ends, and takes 1 ms for each piece.
	local function endless()
		return {
			len = function() return 1 << 40 end, close = function() end,
			slice = function(_, _, count)
				local until_ns = uv.hrtime() + 1000000
				while uv.hrtime() < until_ns do end -- luacheck: ignore 542
				pieces = pieces + 1
				return ("x"):rep(math.min(count, 1000))
			end,
		}
	end

	local routes = {
		["/endless"] = function() return 200, nil, endless() end,
		["/limited"] = function() return 429, { ["Retry-After"] = "1" }, "wait", 1 end,
		["/costly"] = function()
			local until_ns = uv.hrtime() + 1000000
			while uv.hrtime() < until_ns do end -- luacheck: ignore 542
			return 200, nil, "done"
		end,
	}

	local function start()
		local config = {
			MAX_CONNECTIONS = 500, MAX_CONNECTIONS_PER_ADDRESS = 500, MAX_HEADER_BYTES = 2048,
			MAX_BODY_MEMORY_BYTES = 1 << 28, FIRST_BYTE_TIMEOUT_SECONDS = 20, HEADER_TIMEOUT_SECONDS = 20,
			BODY_TIMEOUT_SECONDS = 20, IDLE_TIMEOUT_SECONDS = 20, WRITE_TIMEOUT_SECONDS = 20, SHUTDOWN_TIMEOUT_SECONDS = 20,
		}
		server = http.new({ config = config, handler = function(request)
			handled = handled + 1
			handled_ms[handled] = uv.now()
			return routes[request.path](request)
		end })
		assert(server:listen("0.0.0.0", 0))
		return server:port()
	end

	before_each(function() handled, handled_ms, pieces = 0, {}, 0 end)

	after_each(function()
		raw.close_all()
		local stopped
		server:stop(function() stopped = true end)
		wait.until_true("the server to stop", function() return stopped end)
	end)

	it("does not read a connection beyond a limit until it may go on", function()
		local client = raw.connect(start()):send(GET:format("limited"):rep(20))
		assert.equal(429, client:await(3)[1].status)
		-- By the loop's clock, on which the pause runs too: this process may get no time between any two lines here.
		for i = 2, 3 do
			local waited_ms = handled_ms[i] - handled_ms[i - 1]
			assert.is_true(waited_ms >= 900, waited_ms)
		end
	end)

	it("answers other connections meanwhile", function()
		local port = start()
		raw.connect(port):send(GET:format("limited")):await(1)
		assert.equal(200, raw.connect(port):send(GET:format("costly")):await(1)[1].status)
	end)

	it("begins a request of another address before the hundreds that one address has pipelined", function()
		local port = start()
		local hostile = {}
		for i = 1, 40 do hostile[i] = raw.connect(port, nil, "127.0.0.2") end
		local honest = raw.connect(port, nil, "127.0.0.3")
		for _, client in ipairs(hostile) do client:send(GET:format("costly"):rep(50)) end
		wait.until_true("the load to begin", function() return handled > 0 end)
		local before = handled
		honest:send(GET:format("costly")):await(1)
		assert.is_true(handled - before < 60, handled - before)
	end)

	it("answers another address before each of dozens of large replies has got its next piece", function()
		local port = start()
		for _ = 1, 60 do raw.connect(port, nil, "127.0.0.2"):send(GET:format("endless")) end
		local honest = raw.connect(port, nil, "127.0.0.3")
		wait.until_true("the replies to begin", function() return handled == 60 and pieces > 120 end)
		local before = pieces
		honest:send(GET:format("costly")):await(1)
		assert.is_true(pieces - before < 50, pieces - before)
	end)

	it("gives pieces of large replies in turns by address, too", function()
		local port = start()
		for _ = 1, 60 do raw.connect(port, nil, "127.0.0.2"):send(GET:format("endless")) end
		wait.until_true("the replies to begin", function() return handled == 60 end)
		local honest = raw.connect(port, nil, "127.0.0.3"):send(GET:format("endless"))
		wait.until_true("its reply to begin", function() return honest.received > 1000 end)
		local before, received = pieces, honest.received
		wait.until_true("20 more pieces", function() return honest.received >= received + 20000 end)
		assert.is_true(pieces - before < 200, pieces - before)
	end)
end)
