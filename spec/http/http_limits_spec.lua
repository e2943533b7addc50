-- What the HTTP server does under pressure: time limits, connection limits, slow readers, a
-- full descriptor table, thousands of half-open connections, stopping.

local uv = require("luv")
local err = require("kms.base.err")
local http = require("kms.http.server")
local loop = require("kms.base.loop")
local native = require("support.native")
local ports = require("spec.support.ports")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")
local wakeup = require("kms.async.wakeup")

local GET = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
local POST = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
local LARGE = 32 << 20

local server, logged, held

local routes = {
	["/health"] = function() return 200, nil, '{"status":"healthy"}' end,
	["/body"] = function(request)
		local ok, _, code = request:read_body(100)
		return ok and 200 or select(2, err.wire(code)), nil, ok and request.head:body() or code
	end,
	["/large"] = function() return 200, nil, ("0123456789abcdef"):rep(LARGE // 16) end,
	["/hold"] = function()
		local waiter = wakeup.new()
		held[#held + 1] = waiter
		return 200, nil, waiter:wait(10000) and "released" or "not released"
	end,
}

local function start(changes, options)
	local config = {
		MAX_CONNECTIONS = 5000, MAX_CONNECTIONS_PER_ADDRESS = 5000, MAX_HEADER_BYTES = 2048,
		MAX_BODY_MEMORY_BYTES = 1 << 28, FIRST_BYTE_TIMEOUT_SECONDS = 120, HEADER_TIMEOUT_SECONDS = 120,
		BODY_TIMEOUT_SECONDS = 120, IDLE_TIMEOUT_SECONDS = 120, WRITE_TIMEOUT_SECONDS = 120,
		SHUTDOWN_TIMEOUT_SECONDS = 120,
	}
	for name, value in pairs(changes or {}) do config[name] = value end
	local all = {
		handler = function(request) return routes[request.path](request) end, config = config,
		log = { limited = function(_, _, _, _, event) logged[#logged + 1] = event end },
	}
	for name, value in pairs(options or {}) do all[name] = value end
	server = http.new(all)
	-- A port that nobody else is given once this server has stopped: the next connection to it must be refused.
	local port = ports.take()
	assert(server:listen("127.0.0.1", port))
	return port
end

local function count_is(count)
	return function() return server:counts() == count end
end

describe("http", function()
	-- Parsers that other specs of this process dropped hold bodies until they are collected.
	setup(function()
		collectgarbage()
		collectgarbage()
	end)

	before_each(function()
		logged, held = {}, {}
		native.raise_nofile()
	end)

	after_each(function()
		raw.close_all()
		if server and not server.stopping then
			local stopped
			server:stop(function() stopped = true end)
			wait.until_true("the server to stop", function() return stopped end)
		end
		uv.run("nowait")
		server = nil
		assert.equal(0, native.http_body_in_flight())
	end)

	describe("time limits", function()
		-- Waits for the end of the client that begin() returns. The time counts from before that: the server's own may run
		-- when this process gets no time between its two lines.
		local function ends_after(at_least_ms, begin)
			local began = uv.hrtime()
			local list = begin():await_end()
			assert.is_true((uv.hrtime() - began) / 1e6 >= at_least_ms)
			return list
		end

		it("close a connection that sends no first byte", function()
			local port = start({ FIRST_BYTE_TIMEOUT_SECONDS = 0.3 })
			assert.same({}, ends_after(250, function() return raw.connect(port) end))
		end)

		it("close a connection that sends nothing but an empty line as early", function()
			local port = start({ FIRST_BYTE_TIMEOUT_SECONDS = 0.3 })
			assert.same({}, ends_after(250, function() return raw.connect(port):send("\r\n") end))
		end)

		it("cut a client that sends a byte now and then, while others are served", function()
			local port = start({ HEADER_TIMEOUT_SECONDS = 3 })
			local slow, served, sent = raw.connect(port), 0, 0
			local text = GET:sub(1, -3) .. "X: " .. ("x"):rep(1000)
			while not slow.ended and sent < #text do
				sent = sent + 1
				slow:send(text:sub(sent, sent))
				local other = raw.connect(port)
				assert.equal(200, other:send(GET):await(1)[1].status)
				other:close()
				served = served + 1
				wait.sleep(50)
			end
			assert.is_true(sent < #text and served >= 5)
			assert.equal(408, slow:await_end()[1].status)
		end)

		it("end the wait for a body", function()
			local port = start({ BODY_TIMEOUT_SECONDS = 0.3 })
			local list = ends_after(250, function() return raw.connect(port):send(POST .. "abc") end)
			assert.equal(408, list[1].status)
			assert.equal("ERR_REQUEST_TIMEOUT", list[1].body)
			assert.equal("close", list[1].headers.connection)
		end)

		it("close an idle connection", function()
			local client = raw.connect(start({ IDLE_TIMEOUT_SECONDS = 0.3 }))
			assert.equal(1, #ends_after(250, function() return client:send(GET) end))
		end)

		it("do not count the time of a handler", function()
			local client = raw.connect(start({ IDLE_TIMEOUT_SECONDS = 0.2, HEADER_TIMEOUT_SECONDS = 0.2 }))
			client:send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
			wait.until_true("the request", function() return #held == 1 end)
			wait.sleep(700)
			held[1]:wake()
			assert.equal("released", client:await(1)[1].body)
		end)
	end)

	it("end an answer whose source fails, and close the source", function()
		local closed = 0
		routes["/source"] = function()
			return 200, nil, {
				len = function() return 1000000 end,
				slice = function(_, from, count)
					if from > 1 then error("out of memory") end
					return ("x"):rep(count)
				end,
				close = function() closed = closed + 1 end,
			}
		end
		loop.on_error(function() end)
		local client = raw.connect(start())
		client:send("GET /source HTTP/1.1\r\nHost: a\r\n\r\n")
		client:await_end()
		loop.on_error(function(text) io.stderr:write(text, "\n") end)
		routes["/source"] = nil
		assert.equal(1, closed)
		assert.equal(0, server.running)
	end)

	describe("a client that does not read", function()
		local ask = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"

		it("gets the whole answer when it reads at last, and then the next one", function()
			local client = raw.connect(start(), true)
			client:send(ask .. GET)
			wait.until_true("the reply to wait", function() return server.connections:oldest({ "write" }) end)
			client:read()
			wait.until_true("all of it", function() return client.received > LARGE and #client:answers() == 2 end)
			assert.equal(LARGE, #client:answers()[1].body)
		end)

		it("is cut after the write timeout, others are served", function()
			local port = start({ WRITE_TIMEOUT_SECONDS = 0.3 })
			local client = raw.connect(port, true)
			client:send(ask)
			wait.until_true("the connection", count_is(1))
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
			wait.until_true("the connection to be cut", count_is(1))
			client:read():await_end()
			assert.is_true(client.received < LARGE)
		end)

		local function asks(port)
			local client = raw.connect(port, true):send(ask)
			wait.until_true("its answer to wait", function() return server.held > 0 end)
			return client
		end

		it("is cut where answers that wait would hold more memory than all of them may", function()
			local port = start({ MAX_BODY_MEMORY_BYTES = LARGE })
			local first = asks(port)
			local second = raw.connect(port, true):send(ask)
			wait.until_true("the first one to be cut", function() return server:counts() == 1 end)
			assert.is_true(server.held > 0 and server.held <= LARGE)
			first:read():await_end()
			assert.is_true(first.received < LARGE)
			assert.equal(LARGE, #second:read():await(1)[1].body)
			assert.equal(0, server.held)
		end)

		it("is not cut within that memory, nor when it is alone with a larger answer", function()
			local port = start({ MAX_BODY_MEMORY_BYTES = 2 * LARGE })
			local clients = { asks(port), asks(port) }
			wait.until_true("both replies to wait", function() return server.held > LARGE end)
			-- Both read at once: on a busy machine the second would meet its write timeout behind the first.
			for _, client in ipairs(clients) do client:read() end
			for _, client in ipairs(clients) do assert.equal(LARGE, #client:await(1)[1].body) end
			server.max_held = 1
			assert.equal(LARGE, #asks(port):read():await(1)[1].body)
			assert.equal(0, server.held)
		end)
	end)

	describe("connection limits", function()
		local function hold(port)
			return raw.connect(port):send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
		end

		it("in all: the oldest one without a request makes room", function()
			local port = start({ MAX_CONNECTIONS = 3 })
			local idle = raw.connect(port)
			idle:send(GET):await(1)
			wait.sleep(10) -- ages differ by a millisecond or more
			local first = raw.connect(port)
			wait.sleep(10)
			local head = raw.connect(port):send("GET /hea")
			wait.until_true("a head that has begun", function() return server.connections:oldest({ "head" }) end)
			wait.sleep(10)
			local fourth = raw.connect(port):send(GET)
			assert.equal(200, fourth:await(1)[1].status)
			assert.equal(1, #idle:await_end())
			assert.is_false(first.ended or head.ended)
			raw.connect(port)
			first:await_end()
			raw.connect(port)
			head:await_end()
			assert.same({}, logged)
		end)

		it("in all: where every one is at work the new one is told", function()
			local port = start({ MAX_CONNECTIONS = 2 })
			local clients = { hold(port), hold(port) }
			wait.until_true("requests", function() return select(2, server:counts()) == 2 end)
			for _ = 1, 3 do
				local answer = raw.connect(port):send(GET):await_end()[1]
				assert.equal(503, answer.status)
				assert.truthy(answer.body:find("service_unavailable", 1, true))
			end
			assert.is_true(server:counts() <= 3)
			assert.equal("too many connections", logged[1])
			for _, waiter in ipairs(held) do waiter:wake() end
			assert.equal(200, clients[1]:await(1)[1].status)
		end)

		it("of one address", function()
			local port = start({ MAX_CONNECTIONS_PER_ADDRESS = 2 })
			local one, two = raw.connect(port), raw.connect(port)
			wait.until_true("two", count_is(2))
			local third = raw.connect(port):send(GET)
			local answer = third:await_end()[1]
			third:close()
			assert.equal(429, answer.status)
			assert.truthy(answer.body:find("rate_limited", 1, true))
			one:close()
			wait.until_true("one to go", count_is(1))
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
			assert.equal(200, two:send(GET):await(1)[1].status)
		end)

		it("of one address do not count for loopback behind an ingress", function()
			local port = start({ MAX_CONNECTIONS_PER_ADDRESS = 1 }, { exempt_loopback = true })
			raw.connect(port)
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
		end)
	end)

	describe("stop", function()
		it("lets requests finish, closes idle connections, accepts no new ones", function()
			local port = start()
			local idle, busy, half = raw.connect(port), raw.connect(port), raw.connect(port)
			idle:send(GET):await(1)
			half:send("GET /hea")
			busy:send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			wait.until_true("the request", function() return #held == 1 end)
			local stopped = 0
			server:stop(function() stopped = stopped + 1 end)
			server:stop(function() stopped = stopped + 1 end)
			idle:await_end()
			half:await_end()
			assert.equal("ECONNREFUSED", raw.connect(port).failure)
			assert.equal(0, stopped)
			held[1]:wake()
			local list = busy:await_end()
			assert.equal(1, #list)
			assert.equal("released", list[1].body)
			assert.equal("close", list[1].headers.connection)
			busy:close()
			wait.until_true("the stop", function() return stopped > 0 end)
			assert.equal(1, stopped)
		end)

		it("cuts what is left at its deadline", function()
			local client = raw.connect(start({ SHUTDOWN_TIMEOUT_SECONDS = 0.2 }))
			client:send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
			wait.until_true("the request", function() return #held == 1 end)
			local stopped
			server:stop(function() stopped = true end)
			wait.until_true("the stop", function() return stopped end)
			assert.same({}, client:await_end())
			assert.same({ 0, 1 }, { server:counts() })
			held[1]:wake()
			assert.same({ 0, 0 }, { server:counts() })
		end)

		it("of an idle server is at once", function()
			start()
			local stopped
			server:stop(function() stopped = true end)
			assert.is_true(stopped)
		end)
	end)

	it("serves among thousands of half-open connections", function()
		local port = start()
		for i = 1, 2000 do
			local client = raw.connect(port)
			if i % 2 == 0 then client:send("GET /health HTTP/1.1\r\nHost") end
		end
		wait.until_true("all of them", count_is(2000))
		local one = raw.connect(port)
		for i = 1, 50 do assert.equal(200, one:send(GET):await(i)[i].status) end
	end)

	it("goes on serving when the descriptor table is full, and says so once", function()
		local child = raw.child("ulimit -n 64", "spec/support/http_child.lua")
		local early = raw.connect(child.port)
		assert.equal(200, early:send(GET):await(1)[1].status)
		for _ = 1, 200 do raw.connect(child.port):send("GET /hea") end
		for _ = 1, 5 do
			local client = raw.connect(child.port)
			assert.equal(200, client:send(GET):await(1)[1].status)
			client:close()
		end
		child:stop()
		local _, lines = child.output:gsub("few file descriptors left", "")
		assert.equal(1, lines)
		assert.equal(0, child.status)
	end)
end)
