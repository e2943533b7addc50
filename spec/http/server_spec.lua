local uv = require("luv")
-- The HTTP server over real sockets (docs/protocol.md sections 2 and 3; RFC 9110, RFC 9112).

local cjson = require("cjson")
local err = require("kms.base.err")
local http = require("kms.http.server")
local loop = require("kms.base.loop")
local native = require("support.native")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")

local HEALTH = '{"status":"healthy"}'
local GET = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
local CHUNKED = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

local server, seen, reported

local function config(changes)
	local values = {
		MAX_CONNECTIONS = 1000, MAX_CONNECTIONS_PER_ADDRESS = 1000, MAX_HEADER_BYTES = 2048,
		MAX_BODY_MEMORY_BYTES = 1 << 28, FIRST_BYTE_TIMEOUT_SECONDS = 20, HEADER_TIMEOUT_SECONDS = 20,
		BODY_TIMEOUT_SECONDS = 20, IDLE_TIMEOUT_SECONDS = 20, WRITE_TIMEOUT_SECONDS = 20, SHUTDOWN_TIMEOUT_SECONDS = 20,
	}
	for name, value in pairs(changes or {}) do values[name] = value end
	return values
end

local function echo(request, limit)
	local ok, message, code = request:read_body(limit)
	seen[#seen + 1] = code or request.head:body()
	if not ok then return select(2, err.wire(code)), nil, cjson.encode({ code = code, message = message }) end
	return 200, { ["Content-Type"] = "text/plain" }, request.head:body()
end

local routes = {
	["/health"] = function() return 200, nil, HEALTH end,
	["/echo"] = function(request) return echo(request, 100) end,
	["/refuse"] = function() return 403, nil, '{"code":"forbidden","message":"no"}' end,
	["/empty"] = function() return 204, { Allow = "GET" } end,
	["/sleep"] = function(request)
		loop.sleep(tonumber(request.query))
		seen[#seen + 1] = request.query
		return 200, nil, request.query
	end,
	["/large"] = function(request) return 200, nil, ("x"):rep(tonumber(request.query)) end,
	["/throw"] = function() error("spec: thrown in a handler") end,
	["/nothing"] = function() end,
	["/table"] = function() return 200, nil, {} end,
	["/inject"] = function() return 200, { ["X-A"] = "b\r\nX-C: d" }, "{}" end,
	["/left"] = function(request)
		seen[1] = "began"
		loop.sleep(100)
		seen[2] = request:header("X")
		return 200
	end,
	["/facts"] = function(request)
		return 200, nil, cjson.encode({
			method = request.method, path = request.path, query = request.query, remote = request.remote,
			x = request:header("X-Twice"), length = request:content_length(),
		})
	end,
}

local function start(changes, options)
	local all = {
		handler = function(request)
			local route = routes[request.path]
			if not route then return 404, nil, '{"code":"not_found","message":"no such route"}' end
			return route(request)
		end,
		config = config(changes),
	}
	for name, value in pairs(options or {}) do all[name] = value end
	server = http.new(all)
	assert(server:listen("127.0.0.1", 0))
	return server:port()
end

local function stop()
	if not server then return end
	local stopped
	server:stop(function() stopped = true end)
	wait.until_true("the server to stop", function() return stopped or server.stopped end)
	uv.run("nowait")
	server = nil
end

-- Sends bytes on a new connection; the answers until the server closes.
local function closing(port, bytes)
	return raw.connect(port):send(bytes):await_end()
end

local function body_of(answer)
	return cjson.decode(answer.body)
end

describe("http", function()
	-- Parsers that other specs of this process dropped hold bodies until they are collected.
	setup(function()
		collectgarbage()
		collectgarbage()
	end)

	before_each(function()
		seen, reported = {}, {}
		loop.on_error(function(text) reported[#reported + 1] = text end)
	end)

	after_each(function()
		raw.close_all()
		stop()
		assert.equal(0, native.http_body_in_flight())
	end)

	describe("answers", function()
		it("carry length, type and the headers that every answer has", function()
			local answer = raw.connect(start()):send(GET):await(1)[1]
			assert.equal(200, answer.status)
			assert.equal(HEALTH, answer.body)
			assert.same({
				["content-type"] = "application/json", ["content-length"] = tostring(#HEALTH),
				["cache-control"] = "no-store", ["x-content-type-options"] = "nosniff",
			}, answer.headers)
		end)

		it("tell the handler what was asked", function()
			local client = raw.connect(start())
			client:send("DELETE /facts?a=%20b HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice:2\r\nContent-Length: 0\r\n\r\n")
			assert.same({
				method = "DELETE", path = "/facts", query = "a=%20b", remote = "127.0.0.1", x = "1, 2", length = 0,
			}, body_of(client:await(1)[1]))
		end)

		it("to HEAD are the same without the body", function()
			local client = raw.connect(start())
			client:send("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			wait.until_true("both", function() return #client:answers(1) == 2 end)
			local list = client:answers(1)
			assert.same(list[2].headers, list[1].headers)
			assert.equal("", list[1].body)
			assert.equal(HEALTH, list[2].body)
		end)

		it("without content have no length", function()
			local client = raw.connect(start())
			client:send("OPTIONS /empty HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			local list = client:await(2)
			assert.equal(204, list[1].status)
			assert.equal("GET", list[1].headers.allow)
			assert.is_nil(list[1].headers["content-length"])
			assert.equal(200, list[2].status)
		end)

		it("end the connection where the client says so, or speaks HTTP/1.0", function()
			local port = start()
			for _, head in ipairs({
				"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n",
				"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			}) do
				local list = closing(port, head)
				assert.equal(1, #list)
				assert.equal("close", list[1].headers.connection)
			end
		end)
	end)

	describe("pipelined requests", function()
		it("are answered in their order, each begun after the one before", function()
			local client = raw.connect(start())
			for _, ms in ipairs({ 60, 20, 1 }) do client:send(("GET /sleep?%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(ms)) end
			client:send(GET)
			local list = client:await(4)
			assert.same({ "60", "20", "1", HEALTH }, { list[1].body, list[2].body, list[3].body, list[4].body })
			assert.same({ "60", "20", "1" }, seen)
		end)

		it("by the hundred leave others their turn and no stack behind", function()
			local port = start()
			local many, one = raw.connect(port), raw.connect(port)
			many:send(GET:rep(1000))
			one:send(GET)
			one:await(1)
			assert.equal(1000, #many:await(1000))
		end)

		it("stop being read while one runs", function()
			local client = raw.connect(start())
			client:send("GET /sleep?300 HTTP/1.1\r\nHost: a\r\n\r\n")
			client:send(GET:rep(1000000))
			wait.sleep(150)
			-- What the kernel's buffers do not hold is still with the client.
			assert.is_true(client.handle:write_queue_size() > 1000000)
			assert.equal(0, #client:answers())
			assert.equal(200, client:await(1)[1].status)
		end)

		it("behind a half-closed connection are all answered", function()
			local client = raw.connect(start())
			client:send("GET /sleep?20 HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
			client.handle:shutdown()
			assert.equal(2, #client:await_end())
		end)
	end)

	describe("bodies", function()
		local chunks = "3\r\nfoo\r\n4;x=y\r\nbar!\r\n0\r\nT: v\r\n\r\n"

		it("arrive sized and chunked, and the connection goes on", function()
			local client = raw.connect(start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" .. CHUNKED .. chunks .. GET)
			local list = client:await(3)
			assert.same({ "hello", "foobar!", HEALTH }, { list[1].body, list[2].body, list[3].body })
		end)

		it("are the same byte by byte and at every cut", function()
			local port, bytes = start(), CHUNKED .. chunks
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
			local client = raw.connect(start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
			wait.until_true("100", function() return client:text() == "HTTP/1.1 100 Continue\r\n\r\n" end)
			client:send("ok")
			assert.equal("ok", client:await(2)[2].body)
			assert.is_false(client.ended)
		end)

		it("that the client holds back are not asked for where the head decides", function()
			local list = closing(start(),
				"POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
			assert.equal(1, #list)
			assert.equal(403, list[1].status)
			assert.equal("close", list[1].headers.connection)
		end)

		it("have a limit: announced beyond it, nothing is read", function()
			local client = raw.connect(start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" .. ("x"):rep(100))
			assert.equal(200, client:await(1)[1].status)
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
			local answer = client:await(2)[2]
			assert.equal(413, answer.status)
			assert.equal("ERR_TOO_LARGE", body_of(answer).code)
			-- What was announced is drained, then the connection goes on.
			client:send(("x"):rep(101) .. GET)
			assert.equal(200, client:await(3)[3].status)
		end)

		it("have a limit: counted as chunks arrive", function()
			local port = start()
			local at = CHUNKED .. "64\r\n" .. ("x"):rep(100) .. "\r\n0\r\n\r\n"
			assert.equal(200, raw.connect(port):send(at):await(1)[1].status)
			local list = closing(port, CHUNKED .. "64\r\n" .. ("x"):rep(100) .. "\r\n1\r\nx")
			assert.equal(413, list[1].status)
			assert.equal("close", list[1].headers.connection)
		end)

		it("that are malformed end the connection", function()
			local port = start()
			for _, bad in ipairs({ "x\r\n", "3\nfoo", "3\r\nfooX", "-1\r\n", "ffffffffffffffffff\r\n", "0\r\n\r\rX" }) do
				local list = closing(port, CHUNKED .. bad)
				assert.equal(400, list[1].status, bad)
				assert.equal("ERR_BAD_REQUEST", body_of(list[1]).code)
			end
		end)

		it("share a budget", function()
			local port = start({ MAX_BODY_MEMORY_BYTES = 100 })
			local holder, other = raw.connect(port), raw.connect(port)
			holder:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n" .. ("x"):rep(50))
			wait.until_true("bytes in flight", function() return native.http_body_in_flight() == 50 end)
			other:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 51\r\n\r\n" .. ("y"):rep(51))
			local answer = other:await(1)[1]
			assert.equal(503, answer.status)
			assert.equal("ERR_BUSY", body_of(answer).code)
			other = raw.connect(port)
			other:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" .. ("y"):rep(50))
			assert.equal(200, other:await(1)[1].status)
			holder:send(("x"):rep(10))
			assert.equal(200, holder:await(1)[1].status)
			assert.equal(0, native.http_body_in_flight())
		end)

		it("that end too early are told to the handler", function()
			local client = raw.connect(start())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
			wait.until_true("bytes in flight", function() return native.http_body_in_flight() == 3 end)
			client.handle:shutdown()
			assert.equal(400, client:await_end()[1].status)
			assert.same({ "ERR_BAD_REQUEST" }, seen)
			client = raw.connect(server:port())
			client:send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
			wait.until_true("bytes in flight", function() return native.http_body_in_flight() == 3 end)
			client.handle:close_reset()
			wait.until_true("the handler", function() return #seen == 2 end)
			wait.until_true("the connection to go", function() return server:counts() == 0 end)
			assert.equal(0, native.http_body_in_flight())
		end)
	end)

	it("keeps a request whose client has left until its handler ends", function()
		local client = raw.connect(start())
		client:send("GET /left HTTP/1.1\r\nHost: a\r\nX: kept\r\n\r\n")
		wait.until_true("the handler", function() return #seen == 1 end)
		client.handle:close_reset()
		wait.until_true("the connection to go", function() return server:counts() == 0 end)
		wait.until_true("the handler to end", function() return #seen == 2 end)
		assert.equal("kept", seen[2])
		assert.same({ 0, 0 }, { server:counts() })
		assert.equal(0, #reported)
	end)

	describe("an unread body", function()
		it("is drained up to 64 KiB", function()
			local client = raw.connect(start())
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" .. ("x"):rep(65536) .. GET)
			local list = client:await(2)
			assert.equal(403, list[1].status)
			assert.is_nil(list[1].headers.connection)
			assert.equal(200, list[2].status)
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" .. GET)
			assert.equal(200, client:await(4)[4].status)
		end)

		it("that is longer closes the connection, after the client could read why", function()
			local client = raw.connect(start(), true)
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n" .. ("x"):rep(65537))
			wait.sleep(100)
			local list = client:read():await_end()
			assert.equal(1, #list)
			assert.equal(403, list[1].status)
			assert.equal("close", list[1].headers.connection)
			assert.is_nil(client.failure)
		end)

		it("of chunks that does not end in 64 KiB closes the connection", function()
			local client = raw.connect(start())
			client:send("POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" .. ("x"):rep(131072))
			assert.equal(403, client:await_end()[1].status)
		end)
	end)

	describe("refuses", function()
		local function refused(port, head, status, code)
			local list = closing(port, head)
			assert.equal(1, #list, head)
			assert.equal(status, list[1].status, head)
			assert.equal(code or "bad_request", body_of(list[1]).code)
			assert.is_string(body_of(list[1]).message)
			assert.equal("close", list[1].headers.connection)
		end

		it("heads that others may read in another way, and closes", function()
			local port = start()
			for _, head in ipairs({
				"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nX: \1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
				"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
				"GET /\1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
				"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
				"GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET /\r\n\r\n",
				"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "\22\3\1\2\0\1\0\1\252\3\3",
			}) do
				refused(port, head, 400)
			end
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
		end)

		it("framing that is not plain, and closes", function()
			local port = start()
			for _, lines in ipairs({
				"Content-Length: 3\r\nTransfer-Encoding: chunked", "Content-Length: 3\r\nContent-Length: 3",
				"Content-Length: 3, 3", "Content-Length: +3", "Content-Length: -3", "Content-Length: 3x", "Content-Length:",
				"Content-Length: 99999999999999999999", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity",
				"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Expect: something\r\nContent-Length: 3",
			}) do
				refused(port, "POST /echo HTTP/1.1\r\nHost: a\r\n" .. lines .. "\r\n\r\nabc", 400)
			end
			assert.equal(0, #seen)
		end)

		it("methods that nobody knows", function()
			refused(start(), "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed")
		end)

		it("heads beyond their limits", function()
			local port = start()
			local head = "GET /health HTTP/1.1\r\nHost: a\r\nX: "
			local at = head .. ("x"):rep(2048 - #head - 4) .. "\r\n\r\n"
			assert.equal(200, raw.connect(port):send(at):await(1)[1].status)
			refused(port, head .. ("x"):rep(2048 - #head - 3) .. "\r\n\r\n", 400)
			stop()
			port = start({ MAX_HEADER_BYTES = 65536 })
			refused(port, head .. ("x"):rep(8192) .. "\r\n\r\n", 400)
			local fields = {}
			for i = 1, 99 do fields[i] = "X" .. i .. ": y\r\n" end
			at = "GET /health HTTP/1.1\r\nHost: a\r\n" .. table.concat(fields)
			assert.equal(200, raw.connect(port):send(at .. "\r\n"):await(1)[1].status)
			refused(port, at .. "X100: y\r\n\r\n", 400)
		end)

		it("what follows a good request as well, after its answer", function()
			local list = closing(start(), GET .. "GET / HTTP/1.1\nHost: a\n\n" .. GET)
			assert.equal(2, #list)
			assert.same({ 200, 400 }, { list[1].status, list[2].status })
		end)
	end)

	describe("faults of a handler", function()
		it("answer 500 without a trace, and the node goes on", function()
			local port = start()
			for _, path in ipairs({ "/throw", "/nothing", "/table", "/inject" }) do
				local list = closing(port, "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n" .. GET)
				assert.equal(1, #list, path)
				assert.equal(500, list[1].status)
				assert.same({ code = "internal_error", message = "internal error" }, body_of(list[1]))
			end
			assert.equal(4, #reported)
			assert.truthy(reported[1]:find("spec: thrown in a handler", 1, true))
			assert.equal(200, raw.connect(port):send(GET):await(1)[1].status)
		end)

		it("after a wait are the same", function()
			local list = closing(start(), "GET /sleep?none HTTP/1.1\r\nHost: a\r\n\r\n")
			assert.equal(500, list[1].status)
		end)
	end)

	describe("text of targets", function()
		it("is percent-decoded, by segment or as a query", function()
			assert.equal("a/b\0+ c", native.percent_decode("a%2Fb%00+%20c", false))
			assert.equal("a b+", native.percent_decode("a+b%2b", true))
			for _, bad in ipairs({ "%", "%4", "%zz", "a%2" }) do
				assert.same({ nil, "malformed percent-escape", "ERR_HEX" }, { native.percent_decode(bad, false) })
			end
		end)

		it("gives a query's parameters", function()
			assert.same({ "b c", 1 }, { native.http_query("x=1&a=b+c&y", "a") })
			assert.same({ "1", 2 }, { native.http_query("a=1&a=2", "a") })
			assert.same({ "", 1 }, { native.http_query("a", "a") })
			assert.same({ nil, 0 }, { native.http_query("b=1", "a") })
			assert.same({ nil, 0 }, { native.http_query(nil, "a") })
			assert.same({ nil, "malformed percent-escape", "ERR_HEX" }, { native.http_query("a=%4", "a") })
		end)
	end)

	it("refuses misuse of its parser", function()
		assert.has_error(function() native.http_parser(255) end)
		assert.has_error(function() native.http_parser(65537) end)
		local parser = native.http_parser(256)
		assert.has_error(function() parser:feed() end)
		assert.has_error(function() parser:read_body(-1) end)
		assert.has_error(function() parser.feed(io.stdout, "") end)
		parser:close()
		assert.has_error(function() parser:feed("") end)
	end)

	it("tells a port in use", function()
		local port = start()
		local other = http.new({ handler = function() end, config = config() })
		local ok, message = other:listen("127.0.0.1", port)
		assert.is_nil(ok)
		assert.truthy(message:find("EADDRINUSE", 1, true))
		ok, message = other:listen("no address", 1)
		assert.is_nil(ok)
		assert.is_string(message)
		assert.is_nil(other:port())
	end)
end)
