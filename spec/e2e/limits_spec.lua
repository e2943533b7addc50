-- Limits at and past them, and strict HTTP, over real sockets (docs/protocol.md sections 3 and 9).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

-- A node for one test, with one application.
local function start(env)
	local node = nodes.start({ env = env })
	local app = apps.new(node, "800", "limits")
	node:register({ app })
	return node, app
end

local function retry_after(response)
	local seconds = tonumber(response.headers["retry-after"])
	assert.is_true(math.type(seconds) == "integer" and seconds >= 1 and seconds <= 60, response.headers["retry-after"])
	return seconds
end

describe("body limit", function()
	local LIMIT = 4096
	local node, app

	setup(function() node, app = start({ MAX_REQUEST_BODY_BYTES = LIMIT }) end)
	teardown(function() node:stop() end)

	-- A good envelope, made `size` bytes long with white space.
	local function padded(size)
		local body = cjson.encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"p"}'))
		return body .. (" "):rep(size - #body)
	end

	local function chunked(body)
		local conn = assert(http.connect(node.port))
		local headers, signature = app:pop({})
		headers[#headers + 1] = { "Transfer-Encoding", "chunked" }
		conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }))
		for i = 1, #body, 1000 do
			local part = body:sub(i, i + 999)
			conn:write(("%x\r\n%s\r\n"):format(#part, part))
		end
		conn:write("0\r\n\r\n")
		return app:receive({ conn = conn, signature = signature }), conn
	end

	it("takes a body of exactly MAX_REQUEST_BODY_BYTES", function()
		expect.ok(app:derive(nil, { body = padded(LIMIT) }))
		local response, conn = chunked(padded(LIMIT))
		expect.ok(response)
		conn:close()
	end)

	it("answers 413 to one byte more", function()
		expect.refused(app:derive(nil, { body = padded(LIMIT + 1) }), 413, "payload_too_large")
		app:close()
		local response, conn = chunked(padded(LIMIT + 1))
		expect.refused(response, 413, "payload_too_large")
		conn:close()
	end)

	it("answers 413 to an announced length before it authenticates", function()
		local conn = assert(http.connect(node.port))
		conn:write(http.format({
			method = "POST", target = "/kms/derive", headers = { { "Content-Length", LIMIT + 1 } },
		}))
		expect.refused(conn:receive(), 413, "payload_too_large")
		conn:close()
		conn = assert(http.connect(node.port))
		conn:write(http.format({ method = "POST", target = "/kms/derive", headers = { { "Content-Length", LIMIT } } }))
		expect.refused(conn:receive(), 403, "unauthorized")
		conn:close()
	end)

	it("closes the connection after a long unread body, and drains a short one", function()
		local conn = assert(http.connect(node.port))
		conn:write(http.format({
			method = "POST", target = "/kms/derive", headers = { { "Content-Length", "1000000000000" } },
		}))
		local response = conn:receive()
		expect.refused(response, 413, "payload_too_large")
		assert.equal("close", response.headers.connection)
		conn:wait_eof()
		conn:close()
		conn = assert(http.connect(node.port))
		expect.refused(conn:request({ method = "POST", target = "/kms/derive", body = ("x"):rep(1000) }), 403, "unauthorized")
		assert.equal(200, conn:request({ target = "/health" }).status)
		conn:close()
	end)

	it("refuses a length beyond 64 bits", function()
		local conn = assert(http.connect(node.port))
		conn:write(http.format({
			method = "POST", target = "/kms/derive", headers = { { "Content-Length", "18446744073709551617" } },
		}))
		local response = conn:receive()
		assert.is_true(response.status == 400 or response.status == 413, response.status)
		conn:close()
	end)
end)

describe("body memory", function()
	it("is shared by all bodies in flight; beyond it 503 until there is room", function()
		local node, app = start({ MAX_BODY_MEMORY_BYTES = 100000, MAX_REQUEST_BODY_BYTES = 80000 })
		finally(function() node:stop() end)
		local function begin()
			local conn = assert(http.connect(node.port))
			local sent = app:send({
				method = "POST", target = "/kms/derive", conn = conn, headers = { { "Content-Length", "80000" } },
			})
			conn:write((" "):rep(79999))
			return conn, sent
		end
		local held = begin()
		local second, sent = begin()
		expect.refused(app:receive(sent), 503, "service_unavailable")
		second:close()
		held:close()
		wait.until_true("room for a body again", function()
			local conn, third = begin()
			conn:write(" ")
			local response = app:receive(third)
			conn:close()
			return response.status == 400 -- white space is no envelope
		end)
		expect.ok(app:derive({ path = "p" }))
	end)
end)

describe("address limits", function()
	it("allow NONCE_RATE_LIMIT_PER_MINUTE nonces to an address, then 429", function()
		local node = nodes.start({ env = { NONCE_RATE_LIMIT_PER_MINUTE = 5 } })
		finally(function() node:stop() end)
		for _ = 1, 5 do assert.equal(200, http.get(node.port, "/nonce").status) end
		retry_after(expect.refused(http.get(node.port, "/nonce"), 429, "rate_limited"))
		assert.equal(200, http.request(node.port, { target = "/nonce", from = "127.0.0.2" }).status)
		assert.equal(200, http.get(node.port, "/status").status)
	end)

	it("let tokens flow back in", function()
		local node = nodes.start({ env = { NONCE_RATE_LIMIT_PER_MINUTE = 60 } })
		finally(function() node:stop() end)
		local response
		for _ = 1, 70 do
			response = http.get(node.port, "/nonce")
			if response.status == 429 then break end
		end
		expect.refused(response, 429, "rate_limited")
		wait.sleep(retry_after(response) * 1000)
		assert.equal(200, http.get(node.port, "/nonce").status)
	end)

	it("allow RATE_LIMIT_PER_MINUTE requests to an address, then 429; health and readiness are free", function()
		local node = nodes.start({ env = { RATE_LIMIT_PER_MINUTE = 10 } })
		finally(function() node:stop() end)
		-- Starting asked /status once: one of the ten.
		for _ = 1, 9 do assert.equal(200, http.get(node.port, "/nodes").status) end
		for _, target in ipairs({ "/nodes", "/", "/status", "/nonce", "/kms/data" }) do
			retry_after(expect.refused(http.get(node.port, target), 429, "rate_limited"))
		end
		assert.equal(200, http.get(node.port, "/health").status)
		assert.equal(200, http.get(node.port, "/ready").status)
		assert.equal(200, http.request(node.port, { target = "/nodes", from = "127.0.0.2" }).status)
	end)

	describe("behind proxies", function()
		local node

		setup(function()
			node = nodes.start({ env = {
				NONCE_RATE_LIMIT_PER_MINUTE = 3, TRUSTED_PROXIES = "127.0.0.2, 10.0.0.0/8",
			} })
		end)
		teardown(function() node:stop() end)

		local function status(from, forwarded)
			local headers = forwarded and { { "X-Forwarded-For", forwarded } }
			return http.request(node.port, { target = "/nonce", from = from, headers = headers }).status
		end

		it("count X-Forwarded-For only from a trusted proxy", function()
			for i = 1, 3 do assert.equal(200, status("127.0.0.1", "1.2.3." .. i)) end
			assert.equal(429, status("127.0.0.1", "1.2.3.4"))
			for _ = 1, 3 do assert.equal(200, status("127.0.0.2", "1.1.1.1")) end
			assert.equal(429, status("127.0.0.2", "1.1.1.1"))
			assert.equal(200, status("127.0.0.2", "2.2.2.2"))
		end)

		it("count the right-most entry that is not trusted itself", function()
			for i = 1, 3 do assert.equal(200, status("127.0.0.2", ("6.6.6.%d, 3.3.3.3"):format(i))) end
			assert.equal(429, status("127.0.0.2", "6.6.6.9, 3.3.3.3"))
			assert.equal(429, status("127.0.0.2", "6.6.6.9, 3.3.3.3, 10.1.2.3"))
			assert.equal(429, status("127.0.0.2", "6.6.6.9,3.3.3.3 , 127.0.0.2,10.9.9.9"))
			assert.equal(200, status("127.0.0.2", "3.3.3.3, 6.6.6.9"))
		end)

		it("count IPv6 by /64", function()
			assert.equal(200, status("127.0.0.2", "2001:db8::1"))
			assert.equal(200, status("127.0.0.2", "2001:db8::2"))
			assert.equal(200, status("127.0.0.2", "2001:db8:0:0:ffff::3"))
			assert.equal(429, status("127.0.0.2", "2001:db8::4"))
			assert.equal(200, status("127.0.0.2", "2001:db8:0:1::1"))
		end)

		it("fall back to the proxy's own address for what is no address", function()
			local refused = 0
			for _, text in ipairs({ "garbage", "", "1.2.3", "x, y", ("9"):rep(500), ",", "1.2.3.4.5", "unknown" }) do
				if status("127.0.0.2", text) == 429 then refused = refused + 1 end
			end
			assert.is_true(refused >= 5, refused)
		end)
	end)
end)

describe("application limit", function()
	it("allows APP_RATE_LIMIT_PER_MINUTE requests of a wallet and of an app, then 429", function()
		local node, app = start({ APP_RATE_LIMIT_PER_MINUTE = 5 })
		finally(function() node:stop() end)
		local twin, other = apps.new(node, "800", "twin"), apps.new(node, "801", "other")
		node:register({ twin, other })
		for _ = 1, 5 do expect.ok(app:derive({ path = "p" })) end
		local response = expect.refused(app:derive({ path = "p" }), 429, "rate_limited")
		retry_after(response)
		assert.is_not_nil(response.headers["x-kms-next-nonce"]) -- who it is was shown
		expect.refused(twin:derive({ path = "p" }), 429, "rate_limited")
		expect.ok(other:derive({ path = "p" }))
	end)
end)

describe("connection limits", function()
	local function health(conn)
		return assert(conn:request({ target = "/health" })).status
	end

	it("answer 429 to one connection more of an address", function()
		local node = nodes.start({ env = { MAX_CONNECTIONS_PER_ADDRESS = 3 } })
		finally(function() node:stop() end)
		local held = {}
		for i = 1, 3 do
			held[i] = assert(http.connect(node.port, { from = "127.0.0.2" }))
			assert.equal(200, health(held[i]))
		end
		local fourth = assert(http.connect(node.port, { from = "127.0.0.2" }))
		expect.refused(assert(fourth:receive()), 429, "rate_limited")
		fourth:wait_eof()
		assert.equal(200, http.request(node.port, { target = "/health", from = "127.0.0.3" }).status)
		for _, conn in ipairs(held) do assert.equal(200, health(conn)) end
		held[1]:close()
		wait.until_true("a place again", function()
			local response = http.request(node.port, { target = "/health", from = "127.0.0.2" })
			return response and response.status == 200
		end)
	end)

	it("close the longest idle connection for a new one, and answer 503 when all are busy", function()
		local node, app = start({ MAX_CONNECTIONS = 4 })
		finally(function() node:stop() end)
		app:close()
		local held = {}
		for i = 1, 4 do
			held[i] = assert(http.connect(node.port))
			assert.equal(200, health(held[i]))
		end
		assert.equal(200, http.get(node.port, "/health").status)
		held[1]:wait_eof()
		for _, conn in ipairs(held) do conn:close() end
		local busy = {}
		for i = 1, 4 do
			local conn = assert(http.connect(node.port))
			local headers = app:pop({ nonce = cjson.decode(conn:request({ target = "/nonce" }).body).nonce })
			headers[#headers + 1] = { "Content-Length", "1000" }
			headers[#headers + 1] = { "Expect", "100-continue" }
			conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }))
			assert.equal(100, conn:receive().status) -- it waits for the body now
			busy[i] = conn
		end
		local fifth = assert(http.connect(node.port))
		expect.refused(assert(fifth:receive()), 503, "service_unavailable")
		for _, conn in ipairs(busy) do
			conn:write((" "):rep(1000))
			assert.equal(400, conn:receive().status)
		end
	end)
end)

describe("time limits", function()
	local node

	setup(function()
		node = nodes.start({ env = {
			FIRST_BYTE_TIMEOUT_SECONDS = 1, HEADER_TIMEOUT_SECONDS = 1, BODY_TIMEOUT_SECONDS = 1, IDLE_TIMEOUT_SECONDS = 1,
		} })
	end)
	teardown(function() node:stop() end)

	-- Seconds until the server closes.
	local function closes(bytes, trickle)
		local uv = require("luv")
		local conn = assert(http.connect(node.port))
		local begun_at, due = uv.hrtime(), 0
		if bytes then conn:write(bytes) end
		wait.until_true("the server to close", function()
			local age = (uv.hrtime() - begun_at) / 1e9
			if trickle and age >= due and not conn.eof then
				due = age + 0.2
				conn:write(trickle)
			end
			return conn.eof
		end)
		local age = (uv.hrtime() - begun_at) / 1e9
		conn:close()
		return age, conn
	end

	it("run to the first byte, to the headers, to the body and between requests", function()
		local app = apps.new(node, "810", "slow")
		node:register({ app })
		local begun = "POST /kms/derive HTTP/1.1\r\nHost: x\r\n"
		local pop = {}
		for _, header in ipairs((app:pop({}))) do pop[#pop + 1] = header[1] .. ": " .. header[2] .. "\r\n" end
		local with_body = begun .. table.concat(pop) .. "Content-Length: 100\r\n\r\n"
		for name, seconds in pairs({
			["first byte"] = closes(), ["headers"] = closes(begun), ["headers, trickled"] = closes(begun, "X"),
			["body"] = closes(with_body), ["idle"] = closes("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
		}) do assert.is_true(seconds >= 0.9 and seconds < 12, name .. ": " .. seconds) end
	end)

	it("are not fooled by a body that trickles in", function()
		local app = apps.new(node, "811", "trickle")
		node:register({ app })
		local pop = {}
		for _, header in ipairs((app:pop({}))) do pop[#pop + 1] = header[1] .. ": " .. header[2] .. "\r\n" end
		local seconds = closes("POST /kms/derive HTTP/1.1\r\nHost: x\r\n" .. table.concat(pop)
			.. "Content-Length: 1000\r\n\r\n", " ")
		assert.is_true(seconds >= 0.9 and seconds < 12, seconds)
	end)
end)

describe("strict HTTP", function()
	local node

	setup(function() node = nodes.start({ env = { MAX_HEADER_BYTES = 2048 } }) end)
	teardown(function() node:stop() end)

	local function refusal(bytes)
		local conn = assert(http.connect(node.port))
		conn:write(bytes)
		local response = conn:receive()
		if response then conn:wait_eof() end
		conn:close()
		return response
	end

	it("answers 400 and closes", function()
		local host = "Host: x\r\n"
		for _, bytes in ipairs({
			"GET / HTTP/1.1\r\n" .. host .. "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length: -1\r\n\r\n",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length: +1\r\n\r\nx",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length: 1x\r\n\r\nx",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length: 1,1\r\n\r\nx",
			"POST / HTTP/1.1\r\n" .. host .. "Content-Length:\r\n\r\n",
			"POST / HTTP/1.1\r\n" .. host .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\n" .. host .. "Transfer-Encoding: identity\r\n\r\n",
			"POST / HTTP/1.1\r\n" .. host .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"GET / HTTP/1.1\r\n" .. host .. "X: a\r\n b\r\n\r\n",
			"GET / HTTP/1.1\r\n" .. host .. "X: a\0b\r\n\r\n",
			"GET / HTTP/1.1\r\n" .. host .. "X : a\r\n\r\n",
			"GET / HTTP/1.1\r\n" .. host .. ": a\r\n\r\n",
			"GET / HTTP/1.1\r\n" .. host .. "no colon\r\n\r\n",
			"GET / HTTP/1.1\n" .. "Host: x\n\n",
			"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
			"GET / HTTP/1.1\r\n\r\n",
			"GET / HTTP/1.1\r\n" .. host .. host .. "\r\n",
			"GET / HTTP/1.9\r\n" .. host .. "\r\n",
			"GET / HTTP/2.0\r\n" .. host .. "\r\n",
			"GET /\xff HTTP/1.1\r\n" .. host .. "\r\n",
			"GET  / HTTP/1.1\r\n" .. host .. "\r\n",
			"GET / \r\n" .. host .. "\r\n",
			"hello\r\n\r\n",
			"\0\1\2\3\r\n\r\n",
			"\22\3\1\2\0\1\0\1\252\3\3" .. ("\7"):rep(40) .. "\r\n\r\n", -- TLS
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"GET /" .. ("a"):rep(3000) .. " HTTP/1.1\r\n" .. host .. "\r\n",
			"GET / HTTP/1.1\r\n" .. host .. "X: " .. ("a"):rep(3000) .. "\r\n\r\n",
		}) do
			local response = refusal(bytes)
			assert.is_not_nil(response, bytes)
			assert.equal(400, response.status, bytes)
			expect.refused(response, 400, "bad_request")
		end
	end)

	it("answers 400 to broken chunks", function()
		local app = apps.new(node, "820", "chunks")
		node:register({ app })
		for _, body in ipairs({
			"zz\r\n", "-1\r\n", "1\r\nxy\r\n", "1\nx\r\n", "ffffffffffffffffff\r\n", "1 \0\r\nx\r\n", "\r\n", "0x1\r\nx\r\n",
		}) do
			local headers, signature = app:pop({})
			headers[#headers + 1] = { "Transfer-Encoding", "chunked" }
			local conn = assert(http.connect(node.port))
			conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }) .. body)
			expect.refused(app:receive({ conn = conn, signature = signature }), 400, "bad_request")
			if not conn.closed then conn:wait_eof() end
			conn:close()
		end
	end)

	it("has a limit on headers, and serves what is exactly there", function()
		local function request(size)
			local head = "GET /health HTTP/1.1\r\nHost: x\r\nX: "
			return head .. ("a"):rep(size - #head - 4) .. "\r\n\r\n"
		end
		local conn = assert(http.connect(node.port))
		conn:write(request(2048))
		assert.equal(200, conn:receive().status)
		conn:close()
		local response = refusal(request(2049))
		expect.refused(response, 400, "bad_request")
	end)

	it("answers pipelined requests in order, and closes where asked to", function()
		local conn = assert(http.connect(node.port))
		conn:write(("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"):rep(20) .. "GET /ready HTTP/1.1\r\nHost: x\r\n"
			.. "Connection: close\r\n\r\n")
		for _ = 1, 20 do assert.equal('{"status":"healthy"}', conn:receive().body) end
		assert.equal('{"ready":true}', conn:receive().body)
		conn:wait_eof()
		conn:close()
	end)

	it("answers HTTP/1.0 and closes", function()
		local conn = assert(http.connect(node.port))
		conn:write("GET /health HTTP/1.0\r\nHost: x\r\n\r\n")
		assert.equal(200, conn:receive().status)
		conn:wait_eof()
		conn:close()
	end)

	it("says 100 Continue when it is asked to", function()
		local app = apps.new(node, "821", "expect")
		node:register({ app })
		local headers, signature = app:pop({})
		local body = cjson.encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"p"}'))
		table.move({ { "Expect", "100-continue" }, { "Content-Length", #body } }, 1, 2, #headers + 1, headers)
		local conn = assert(http.connect(node.port))
		conn:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }))
		wait.until_true("100 Continue", function() return conn:text():find("^HTTP/1.1 100 ") end)
		assert.equal(100, conn:receive().status)
		conn:write(body)
		expect.ok(app:receive({ conn = conn, signature = signature }))
		conn:close()
	end)
end)
