-- Limits of a running node, at and past them (docs/protocol.md sections 3 and 9).

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local prometheus = require("spec.support.prometheus")
local uv = require("luv")
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
	local LIMIT = 800000
	local node, app

	setup(function()
		node, app = start({ MAX_REQUEST_BODY_BYTES = LIMIT, MAX_KV_VALUE_SIZE_BYTES = 4096 })
	end)
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
		for i = 1, #body, 50000 do
			local part = body:sub(i, i + 49999)
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
		local metrics = ports.take()
		local node, app = start({
			MAX_BODY_MEMORY_BYTES = 2000000, MAX_REQUEST_BODY_BYTES = 800000, MAX_KV_VALUE_SIZE_BYTES = 4096,
			MIN_BODY_BYTES_PER_SECOND = 0, METRICS_ADDR = "127.0.0.1:" .. metrics,
		})
		finally(function() node:stop() end)
		local function begin()
			local conn = assert(http.connect(node.port))
			local sent = app:send({
				method = "POST", target = "/kms/derive", conn = conn, headers = { { "Content-Length", "800000" } },
			})
			conn:write((" "):rep(799999))
			return conn, sent
		end
		local held = begin()
		-- All of it has arrived, and counts, before the second one begins: either could be refused otherwise.
		wait.until_true("the body to have its memory", function()
			local bytes = prometheus.value(prometheus.scrape(metrics), "kms_body_bytes")
			return bytes >= 799999, bytes
		end)
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

	it("is not used up by many slow bodies of one application", function()
		local node, hostile = start({ MAX_BODY_MEMORY_BYTES = 32 << 20, RATE_LIMIT_PER_MINUTE = 0 })
		finally(function() node:stop() end)
		local honest = apps.new(node, "801", "honest")
		node:register({ hostile, honest })
		local slow = {}
		local content = (" "):rep((4 << 20) - 1)
		for i = 1, 12 do
			local conn = assert(http.connect(node.port))
			slow[i] = hostile:send({
				method = "POST", target = "/kms/derive", conn = conn, headers = { { "Content-Length", 4 << 20 } },
			})
			conn:write(content)
		end
		for _ = 1, 20 do expect.ok(honest:derive({ path = "p" })) end
		for _, sent in ipairs(slow) do sent.conn:close() end
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

	it("let a client beyond them wait before anything else of its connection is read", function()
		local node = start({ NONCE_RATE_LIMIT_PER_MINUTE = 12, RATE_LIMIT_PER_MINUTE = 0 }) -- one flows back in 5 seconds
		finally(function() node:stop() end)
		local conn = assert(http.connect(node.port))
		conn:write(http.format({ target = "/nonce" }):rep(100))
		wait.until_true("a pause behind a refusal", function()
			repeat until conn:receive().status == 429
			wait.sleep(500)
			return conn:text() == "" -- unless this process was so late that the pause is over
		end)
		assert.equal(200, conn:receive().status)
		conn:close()
	end)

	it("let tokens flow back in", function()
		local node = nodes.start({ env = { NONCE_RATE_LIMIT_PER_MINUTE = 60 } })
		finally(function() node:stop() end)
		local response
		for _ = 1, 10000 do -- faster than one a second, which flows back in
			response = http.get(node.port, "/nonce")
			if response.status == 429 then break end
		end
		expect.refused(response, 429, "rate_limited")
		wait.sleep(retry_after(response) * 1000)
		assert.equal(200, http.get(node.port, "/nonce").status)
	end)

	it("allow RATE_LIMIT_PER_MINUTE requests to an address, then 429; health and readiness are free", function()
		local begun_at = uv.hrtime()
		local node = nodes.start({ env = { RATE_LIMIT_PER_MINUTE = 10 } }) -- one flows back in 6 seconds
		finally(function() node:stop() end)
		-- Asks until that is refused. Returns how often it was not.
		local function served(target)
			local count = 0
			wait.until_true("a refusal of " .. target, function()
				local response = http.get(node.port, target)
				if response.status == 429 then return retry_after(expect.refused(response, 429, "rate_limited")) end
				count = count + 1
			end)
			return count
		end
		local count = served("/nodes")
		assert.is_true(count >= 9, count) -- starting asked /status once: one of the ten
		for _, target in ipairs({ "/nodes", "/", "/status", "/nonce", "/kms/data" }) do count = count + served(target) end
		assert.is_true(count <= 9 + (uv.hrtime() - begun_at) // 6e9, count)
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
