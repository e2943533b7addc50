-- Request bodies, and handlers that fail or outlive their clients, over real sockets (RFC 9110, RFC 9112).

local uv = require("luv")
local fixture = require("spec.support.http_server")
local native = require("support.native")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")

local HEALTH, GET, CHUNKED = fixture.HEALTH, fixture.GET, fixture.CHUNKED

describe("http bodies and handlers", function()
	fixture.use({ setup = setup, before_each = before_each, after_each = after_each })

	describe("bodies", function()
		local chunks = "3\r\nfoo\r\n4;x=y\r\nbar!\r\n0\r\nT: v\r\n\r\n"

		it("arrive sized and chunked, and the connection goes on", function()
			local client = raw.connect(fixture.start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" .. CHUNKED .. chunks .. GET)
			local list = client:await(3)
			assert.same({ "hello", "foobar!", HEALTH }, { list[1].body, list[2].body, list[3].body })
		end)

		it("are the same byte by byte and at every cut", function()
			local port, bytes = fixture.start(), CHUNKED .. chunks
			assert.equal("foobar!", raw.connect(port):send_slowly(bytes):await(1)[1].body)
			for cut = 1, #bytes - 1 do
				local client = raw.connect(port)
				client:send(bytes:sub(1, cut))
				uv.run("nowait")
				client:send(bytes:sub(cut + 1))
				assert.equal("foobar!", client:await(1)[1].body)
				client:close()
			end
		end)

		it("are waited for with 100 Continue", function()
			local client = raw.connect(fixture.start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
			wait.until_true("100", function() return client:text() == "HTTP/1.1 100 Continue\r\n\r\n" end)
			client:send("ok")
			assert.equal("ok", client:await(2)[2].body)
			assert.is_false(client.ended)
		end)

		it("that the client holds back are not asked for where the head decides", function()
			local list = fixture.closing(fixture.start(),
				"POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
			assert.equal(1, #list)
			assert.equal(403, list[1].status)
			assert.equal("close", list[1].headers.connection)
		end)

		it("have a limit: announced beyond it, nothing is read", function()
			local client = raw.connect(fixture.start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" .. ("x"):rep(100))
			assert.equal(200, client:await(1)[1].status)
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
			local answer = client:await(2)[2]
			assert.equal(413, answer.status)
			assert.equal("ERR_TOO_LARGE", fixture.body_of(answer).code)
			-- What was announced is drained, then the connection goes on.
			client:send(("x"):rep(101) .. GET)
			assert.equal(200, client:await(3)[3].status)
		end)

		it("have a limit: counted as chunks arrive", function()
			local port = fixture.start()
			local at = CHUNKED .. "64\r\n" .. ("x"):rep(100) .. "\r\n0\r\n\r\n"
			assert.equal(200, raw.connect(port):send(at):await(1)[1].status)
			local list = fixture.closing(port, CHUNKED .. "64\r\n" .. ("x"):rep(100) .. "\r\n1\r\nx")
			assert.equal(413, list[1].status)
			assert.equal("close", list[1].headers.connection)
		end)

		it("that are malformed end the connection", function()
			local port = fixture.start()
			for _, bad in ipairs({ "x\r\n", "3\nfoo", "3\r\nfooX", "-1\r\n", "0\r\n\r\rX" }) do
				local list = fixture.closing(port, CHUNKED .. bad)
				assert.equal(400, list[1].status, bad)
				assert.equal("ERR_BAD_REQUEST", fixture.body_of(list[1]).code)
			end
		end)

		it("share a budget", function()
			local port = fixture.start({ MAX_BODY_MEMORY_BYTES = 133 }) -- 100 beside what is reserved for members
			local holder, other = raw.connect(port), raw.connect(port)
			holder:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n" .. ("x"):rep(50))
			wait.until_true("bytes in flight", function() return native.http_body_in_flight() == 50 end)
			other:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 51\r\n\r\n" .. ("y"):rep(51))
			local answer = other:await(1)[1]
			assert.equal(503, answer.status)
			assert.equal("ERR_BUSY", fixture.body_of(answer).code)
			other = raw.connect(port)
			other:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" .. ("y"):rep(50))
			assert.equal(200, other:await(1)[1].status)
			holder:send(("x"):rep(10))
			assert.equal(200, holder:await(1)[1].status)
			assert.equal(0, native.http_body_in_flight())
		end)

		it("that end too early are told to the handler", function()
			local client = raw.connect(fixture.start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
			wait.until_true("bytes in flight", function() return native.http_body_in_flight() == 3 end)
			client.handle:shutdown()
			assert.equal(400, client:await_end()[1].status)
			assert.same({ "ERR_BAD_REQUEST" }, fixture.seen)
			client = raw.connect(fixture.server:port())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
			wait.until_true("bytes in flight", function() return native.http_body_in_flight() == 3 end)
			client.handle:close_reset()
			wait.until_true("the handler", function() return #fixture.seen == 2 end)
			wait.until_true("the connection to go", function() return fixture.server:counts() == 0 end)
			assert.equal(0, native.http_body_in_flight())
		end)
	end)

	it("keeps a request whose client has left until its handler ends", function()
		local client = raw.connect(fixture.start())
		client:send("GET /left HTTP/1.1\r\nHost: a\r\nX: kept\r\n\r\n")
		wait.until_true("the handler", function() return #fixture.seen == 1 end)
		client.handle:close_reset()
		wait.until_true("the connection to go", function() return fixture.server:counts() == 0 end)
		wait.until_true("the handler to end", function() return #fixture.seen == 2 end)
		assert.equal("kept", fixture.seen[2])
		assert.same({ 0, 0 }, { fixture.server:counts() })
		assert.equal(0, #fixture.reported)
	end)

	describe("an unread body", function()
		it("is drained up to 64 KiB", function()
			local client = raw.connect(fixture.start())
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" .. ("x"):rep(65536) .. GET)
			local list = client:await(2)
			assert.equal(403, list[1].status)
			assert.is_nil(list[1].headers.connection)
			assert.equal(200, list[2].status)
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" .. GET)
			assert.equal(200, client:await(4)[4].status)
		end)

		it("that is longer closes the connection, after the client could read why", function()
			local client = raw.connect(fixture.start(), true)
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n" .. ("x"):rep(65537))
			wait.until_true("the reply", function() return fixture.server.connections:oldest({ "linger" }) end)
			local list = client:read():await_end()
			assert.equal(1, #list)
			assert.equal(403, list[1].status)
			assert.equal("close", list[1].headers.connection)
			assert.is_nil(client.failure)
		end)

		it("of chunks that does not end in 64 KiB closes the connection", function()
			local client = raw.connect(fixture.start())
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" .. ("x"):rep(131072))
			assert.equal(403, client:await_end()[1].status)
		end)
	end)

	describe("faults of a handler", function()
		it("answer 500 without a trace, and the node goes on", function()
			local port = fixture.start()
			for _, path in ipairs({ "/throw", "/nothing", "/table", "/inject" }) do
				local list = fixture.closing(port, "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
				assert.equal(1, #list, path)
				assert.equal(500, list[1].status)
				assert.same({ code = "internal_error", reason = "internal_error", message = "internal error" },
					fixture.body_of(list[1]))
			end
			assert.equal(4, #fixture.reported)
			assert.truthy(fixture.reported[1]:find("spec: thrown in a handler", 1, true))
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
		end)

		it("behind a reply close the connection: the next request, which nobody has handled, gets none", function()
			local port = fixture.start()
			local turns = fixture.server.turns
			local add, count = turns.add, 0
			function turns.add(...)
				count = count + 1
				if count == 2 then error("spec: thrown behind a reply") end
				return add(...)
			end
			local list = fixture.closing(port, GET .. GET)
			assert.equal(1, #list)
			assert.equal(200, list[1].status)
			assert.truthy(fixture.reported[1]:find("spec: thrown behind a reply", 1, true))
		end)

		it("after a wait are the same", function()
			local list = fixture.closing(fixture.start(), "GET /sleep?none HTTP/1.1\r\nHost: a\r\n\r\n")
			assert.equal(500, list[1].status)
		end)
	end)
end)
