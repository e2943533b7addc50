-- Connections, times and strict HTTP of a running node, over real sockets.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

-- A node for one test, with one application.
local function start(env)
	local node = nodes.start({ env = env })
	local app = apps.new(node, "800", "limits")
	node:register({ app })
	return node, app
end

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
		local node, app = start({ MAX_CONNECTIONS = 4, MIN_BODY_BYTES_PER_SECOND = 0 })
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
	local LIMIT_S = 4 -- an honest request is faster, also where the machine does other things
	local node

	setup(function()
		node = nodes.start({ env = {
			FIRST_BYTE_TIMEOUT_SECONDS = LIMIT_S, HEADER_TIMEOUT_SECONDS = LIMIT_S, BODY_TIMEOUT_SECONDS = LIMIT_S,
			IDLE_TIMEOUT_SECONDS = LIMIT_S,
		} })
	end)
	teardown(function() node:stop() end)

	local function open(bytes, trickle)
		local begun_at = uv.hrtime() -- before the connection: the node's time may run when this process gets none
		local conn = assert(http.connect(node.port))
		if bytes then conn:write(bytes) end
		return { conn = conn, begun_at = begun_at, trickle = trickle, due_s = 0 }
	end

	-- Opens connections, all at once, and checks after how many seconds the server closes each.
	-- cases: by name { bytes to send at the start or false, what is sent again and again or nil }
	local function all_close(cases)
		local left, seconds = {}, {}
		for name, case in pairs(cases) do left[name] = open(case[1], case[2]) end
		wait.until_true("the server to close", function()
			for name, one in pairs(left) do
				local age_s = (uv.hrtime() - one.begun_at) / 1e9
				if one.conn.eof then
					one.conn:close()
					seconds[name], left[name] = age_s, nil
				elseif one.trickle and age_s >= one.due_s then
					one.due_s = age_s + 0.2
					one.conn:write(one.trickle)
				end
			end
			return not next(left)
		end)
		for name, age_s in pairs(seconds) do
			assert.is_true(age_s >= LIMIT_S - 0.1 and age_s < LIMIT_S + 11, name .. ": " .. age_s)
		end
	end

	it("run to the first byte, to the headers, to the body and between requests", function()
		local app = apps.new(node, "810", "slow")
		node:register({ app })
		local begun = "POST /kms/derive HTTP/1.1\r\nHost: x\r\n"
		local pop = {}
		for _, header in ipairs((app:pop({}))) do pop[#pop + 1] = header[1] .. ": " .. header[2] .. "\r\n" end
		local with_body = begun .. table.concat(pop) .. "Content-Length: 100\r\n\r\n"
		all_close({
			["first byte"] = { false }, ["headers"] = { begun }, ["headers, trickled"] = { begun, "X" },
			["body"] = { with_body }, ["idle"] = { "GET /health HTTP/1.1\r\nHost: x\r\n\r\n" },
		})
	end)

	it("are not fooled by a body that trickles in", function()
		local app = apps.new(node, "811", "trickle")
		node:register({ app })
		local pop = {}
		for _, header in ipairs((app:pop({}))) do pop[#pop + 1] = header[1] .. ": " .. header[2] .. "\r\n" end
		all_close({ ["body"] = { "POST /kms/derive HTTP/1.1\r\nHost: x\r\n" .. table.concat(pop)
			.. "Content-Length: 1000\r\n\r\n", " " } })
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
			"GET /\xff HTTP/1.1\r\n" .. host .. "\r\n",
			"GET  / HTTP/1.1\r\n" .. host .. "\r\n",
			"GET / \r\n" .. host .. "\r\n",
			"hello\r\n\r\n",
			"\0\1\2\3\r\n\r\n",
			"\22\3\1\2\0\1\0\1\252\3\3" .. ("\7"):rep(40) .. "\r\n\r\n", -- TLS
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
			"zz\r\n", "-1\r\n", "1\r\nxy\r\n", "1\nx\r\n", "1 \0\r\nx\r\n", "\r\n", "0x1\r\nx\r\n",
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
			local fields = "Host: x\r\nX: "
			return "GET /health HTTP/1.1\r\n" .. fields .. ("a"):rep(size - #fields - 4) .. "\r\n\r\n"
		end
		local conn = assert(http.connect(node.port))
		conn:write(request(2048))
		assert.equal(200, conn:receive().status)
		conn:close()
		local response = refusal(request(2049))
		expect.refused(response, 431, "bad_request")
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
