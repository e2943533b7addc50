-- The HTTP server over real sockets (docs/protocol.md sections 2 and 3; RFC 9110, RFC 9112).

local fixture = require("spec.support.http_server")
local http = require("kms.http.server")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")

local HEALTH, GET = fixture.HEALTH, fixture.GET

describe("http", function()
	fixture.use({ setup = setup, before_each = before_each, after_each = after_each })

	describe("answers", function()
		it("carry length, type and the headers that every answer has", function()
			local answer = raw.connect(fixture.start()):send(GET):await(1)[1]
			assert.equal(200, answer.status)
			assert.equal(HEALTH, answer.body)
			-- RFC 9110 section 6.6.1
			assert.truthy(answer.headers.date:find("^%u%l%l, %d%d %u%l%l %d%d%d%d %d%d:%d%d:%d%d GMT$"), answer.headers.date)
			answer.headers.date = nil
			assert.same({
				["content-type"] = "application/json", ["content-length"] = tostring(#HEALTH),
				["cache-control"] = "no-store", ["x-content-type-options"] = "nosniff",
			}, answer.headers)
		end)

		it("tell the handler what was asked", function()
			local client = raw.connect(fixture.start())
			client:send("DELETE /facts?a=%20b HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice:2\r\nContent-Length: 0\r\n\r\n")
			assert.same({
				method = "DELETE", path = "/facts", query = "a=%20b", remote = "127.0.0.1", x = "1, 2", length = 0,
			}, fixture.body_of(client:await(1)[1]))
		end)

		it("to HEAD are the same without the body", function()
			local client = raw.connect(fixture.start())
			client:send("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			wait.until_true("both", function() return #client:answers(1) == 2 end)
			local list = client:answers(1)
			assert.same(list[2].headers, list[1].headers)
			assert.equal("", list[1].body)
			assert.equal(HEALTH, list[2].body)
		end)

		it("without content have no length", function()
			local client = raw.connect(fixture.start())
			client:send("OPTIONS /empty HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			local list = client:await(2)
			assert.equal(204, list[1].status)
			assert.equal("GET", list[1].headers.allow)
			assert.is_nil(list[1].headers["content-length"])
			assert.equal(200, list[2].status)
		end)

		it("end the connection where the client says so, or speaks HTTP/1.0", function()
			local port = fixture.start()
			for _, head in ipairs({
				"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n",
				"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			}) do
				local list = fixture.closing(port, head)
				assert.equal(1, #list)
				assert.equal("close", list[1].headers.connection)
			end
		end)
	end)

	it("tells a handler nothing of the connection's earlier requests", function()
		local states = {}
		local port = fixture.start(nil, { handler = function(request)
			states[#states + 1] = {
				request.method, request.query, request.has_body, request.complete, request.broken, request.replied,
				request.continued, request.close, request.pause_s, request.length,
			}
			request:read_body(100)
			return 200, nil, "{}"
		end })
		local client = raw.connect(port)
		client:send("POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		wait.until_true("the request", function() return #states == 1 end)
		client:send("{}" .. GET)
		wait.until_true("the second request", function() return #states == 2 end)
		assert.same({ "POST", "b", true, false, false, false, false, false, false, 2 }, states[1])
		assert.same({ "GET", nil, false, false, false, false, false, false, false, 0 }, states[2])
	end)

	describe("pipelined requests", function()
		it("are answered in their order, each begun after the one before", function()
			local client = raw.connect(fixture.start())
			for _, ms in ipairs({ 60, 20, 1 }) do client:send(("GET /sleep?%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(ms)) end
			client:send(GET)
			local list = client:await(4)
			assert.same({ "60", "20", "1", HEALTH }, { list[1].body, list[2].body, list[3].body, list[4].body })
			assert.same({ "60", "20", "1" }, fixture.seen)
		end)

		it("by the hundred leave others their turn and no stack behind", function()
			local port = fixture.start()
			local many, one = raw.connect(port), raw.connect(port)
			many:send(GET:rep(1000))
			one:send(GET)
			one:await(1)
			assert.equal(1000, #many:await(1000))
		end)

		it("stop being read while one runs", function()
			local client = raw.connect(fixture.start())
			client:send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
			client:send(GET:rep(1000000))
			wait.until_true("reading to stop", function()
				local busy = fixture.server.connections:oldest({ "busy" })
				return busy and not busy.reading
			end)
			-- What the kernel's buffers do not hold is still with the client.
			assert.is_true(client.handle:write_queue_size() > 1000000)
			assert.equal(0, #client:answers())
			fixture.held:wake()
			assert.equal(200, client:await(1)[1].status)
		end)

		it("behind a half-closed connection are all answered", function()
			local client = raw.connect(fixture.start())
			client:send("GET /sleep?20 HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			client.handle:shutdown()
			assert.equal(2, #client:await_end())
		end)
	end)

	describe("refuses", function()
		local function refused(port, head, status, code)
			local list = fixture.closing(port, head)
			assert.equal(1, #list, head)
			assert.equal(status, list[1].status, head)
			assert.equal(code or "bad_request", fixture.body_of(list[1]).code)
			assert.is_string(fixture.body_of(list[1]).message)
			assert.equal("close", list[1].headers.connection)
		end

		it("heads that others may read in another way, and closes", function()
			local port = fixture.start()
			for _, head in ipairs({
				"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nX: \1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
				"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
				"GET /\1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
				"GET a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "GET /\r\n\r\n",
				"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "\22\3\1\2\0\1\0\1\252\3\3",
			}) do
				refused(port, head, 400)
			end
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
		end)

		it("framing that is not plain, and closes", function()
			local port = fixture.start()
			for _, lines in ipairs({
				"Content-Length: 3\r\nTransfer-Encoding: chunked", "Content-Length: 3\r\nContent-Length: 3",
				"Content-Length: 3, 3", "Content-Length: +3", "Content-Length: -3", "Content-Length: 3x", "Content-Length:",
				"Content-Length: 99999999999999999999x", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: identity",
				"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
			}) do
				refused(port, "POST /echo HTTP/1.1\r\nHost: a\r\n" .. lines .. "\r\n\r\nabc", 400)
			end
			assert.equal(0, #fixture.seen)
		end)

		it("what it does not implement, with a reason", function()
			local port = fixture.start()
			for status, head in pairs({
				[501] = "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", [505] = "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
			}) do
				refused(port, head, status, "not_implemented")
			end
			refused(port, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "not_implemented")
			refused(port, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 3\r\n\r\nabc", 417)
		end)

		it("heads beyond their limits", function()
			local port = fixture.start()
			local line, fields = "GET /health HTTP/1.1\r\n", "Host: a\r\nX: "
			local head = line .. fields
			local at = head .. ("x"):rep(2048 - #fields - 4) .. "\r\n\r\n"
			assert.equal(200, raw.connect(port):send(at):await(1)[1].status)
			refused(port, head .. ("x"):rep(2048 - #fields - 3) .. "\r\n\r\n", 431)
			fixture.stop()
			port = fixture.start({ MAX_HEADER_BYTES = 65536 })
			refused(port, head .. ("x"):rep(8192) .. "\r\n\r\n", 431)
			local many = {}
			for i = 1, 99 do many[i] = "X" .. i .. ": y\r\n" end
			at = "GET /health HTTP/1.1\r\nHost: a\r\n" .. table.concat(many)
			assert.equal(200, raw.connect(port):send(at .. "\r\n"):await(1)[1].status)
			refused(port, at .. "X100: y\r\n\r\n", 431)
		end)

		it("what follows a good request as well, after its answer", function()
			local list = fixture.closing(fixture.start(), GET .. "GET / HTTP/1.1\nHost: a\n\n" .. GET)
			assert.equal(2, #list)
			assert.same({ 200, 400 }, { list[1].status, list[2].status })
		end)
	end)

	it("tells a port in use", function()
		local port = fixture.start()
		local other = http.new({ handler = function() end, config = fixture.config() })
		local ok, message = other:listen("127.0.0.1", port)
		assert.is_nil(ok)
		assert.truthy(message:find("EADDRINUSE", 1, true))
		ok, message = other:listen("no address", 1)
		assert.is_nil(ok)
		assert.is_string(message)
		assert.is_nil(other:port())
	end)
end)
