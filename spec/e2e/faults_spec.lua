-- Clients and circumstances that are out to harm; other clients are served meanwhile.

local apps = require("spec.support.app")
local backend = require("spec.support.backend")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local files = require("spec.support.files")
local http = require("spec.support.http")
local native = require("spec.support.native")
local nodes = require("spec.support.node")
local uv = require("luv")
local wait = require("spec.support.wait")

local function start(env, options)
	options = options or {}
	options.env = env
	local node = nodes.start(options)
	local app = apps.new(node, "950", "faults")
	node:register({ app })
	expect.ok(app:derive({ path = "p" }))
	return node, app
end

local function close_all(list)
	for _, conn in ipairs(list) do conn:close() end
	uv.run("nowait")
end

-- Open files of a process; nil where this user may not know.
local function descriptors(pid)
	local scan, count = uv.fs_scandir("/proc/" .. pid .. "/fd"), 0
	if not scan then return nil end
	while uv.fs_scandir_next(scan) do count = count + 1 end
	return count
end

describe("a client that sends its request byte by byte", function()
	it("is cut off at the time limit, and other clients are served", function()
		local node, app = start({ HEADER_TIMEOUT_SECONDS = 3, FIRST_BYTE_TIMEOUT_SECONDS = 3 })
		finally(function() node:stop() end)
		local text, conns, sent = "GET /health HTTP/1.1\r\nHost: slow\r\nX-Long: " .. ("a"):rep(200), {}, 0
		local begun, first_cut = uv.hrtime(), nil
		for i = 1, 50 do conns[i] = assert(http.connect(node.port)) end
		local function count_open()
			local count = 0
			for _, conn in ipairs(conns) do count = count + (conn.eof and 0 or 1) end
			if count < #conns then first_cut = first_cut or uv.hrtime() end
			return count
		end
		while count_open() > 0 do
			sent = sent + 1
			assert.is_true(sent < #text, "not cut off before the request was complete")
			for _, conn in ipairs(conns) do
				if not conn.eof then conn:write(text:sub(sent, sent)) end
			end
			expect.ok(app:derive({ path = "p" .. sent }))
			wait.sleep(500)
		end
		assert.is_true(first_cut - begun >= 2.9e9)
		close_all(conns)
	end)
end)

describe("10 000 half-open connections", function()
	local COUNT, ADDRESSES = 10000, 50

	it("are bounded, and other clients are served meanwhile", function()
		local limit = native.raise_nofile()
		if limit < COUNT + 200 then
			return pending(("needs %d open files, the hard limit is %d"):format(COUNT + 200, limit))
		end
		local node, app = start({ MAX_CONNECTIONS_PER_ADDRESS = 256 })
		finally(function() node:stop() end)
		local conns = {}
		for i = 1, COUNT do
			local conn = http.connect(node.port, { from = "127.0.0." .. 2 + i % ADDRESSES, nowait = true })
			conns[#conns + 1] = conn
			if conn and i % 2 == 0 then conn:write("GET /hea") end -- half of them begin a request
			if i % 500 == 0 then
				uv.run("nowait")
				expect.ok(app:derive({ path = "during " .. i }))
			end
		end
		for i = 1, 20 do expect.ok(app:derive({ path = "after " .. i })) end
		assert.equal(200, http.get(node.port, "/health").status)
		local open = descriptors(node.pid)
		assert.is_true(not open or open < 4096 + 100, open)
		close_all(conns)
		wait.until_true("health", function() return http.get(node.port, "/health").status == 200 end)
		expect.ok(app:derive({ path = "p" }))
		assert.is_true(node:alive())
	end)
end)

describe("a full table of file descriptors", function()
	it("is logged, requests that run go on, and idle connections make room for new ones", function()
		local node, app = start({ MIN_BODY_BYTES_PER_SECOND = 0 }, { nofile = 48 })
		finally(function() node:stop() end)
		local headers, signature = app:pop({})
		local body = require("cjson").encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"busy"}'))
		headers[#headers + 1] = { "Content-Length", #body }
		headers[#headers + 1] = { "Expect", "100-continue" }
		local busy = assert(http.connect(node.port))
		busy:write(http.format({ method = "POST", target = "/kms/derive", headers = headers }))
		assert.equal(100, busy:receive().status)
		local conns = {}
		for i = 1, 100 do conns[i] = http.connect(node.port, { from = "127.0.0.2", nowait = true }) end
		node:wait_log("descriptor")
		for _ = 1, 5 do assert.equal(200, http.get(node.port, "/health").status) end
		busy:write(body)
		expect.ok(app:receive({ conn = busy, signature = signature }))
		close_all(conns)
		wait.until_true("new connections", function()
			local response = http.get(node.port, "/health")
			return response and response.status == 200
		end)
		expect.ok(app:derive({ path = "p" }))
	end)
end)

describe("clients that go away", function()
	local node, app

	setup(function() node, app = start({}) end)
	teardown(function() node:stop() end)

	it("at any byte of a request do no harm", function()
		local headers = app:pop({})
		local body = require("cjson").encode(crypto.seal(app:channel_key(), app.identity.der, '{"path":"p"}'))
		local bytes = http.format({ method = "POST", target = "/kms/derive", headers = headers, body = body })
		for cut = 1, #bytes - 1, 7 do
			local conn = assert(http.connect(node.port))
			conn:write(bytes:sub(1, cut))
			conn:close()
		end
		expect.ok(app:derive({ path = "p" }))
		assert.is_true(node:alive())
	end)

	it("before their answer do no harm", function()
		for i = 1, 50 do
			local conn = assert(http.connect(node.port))
			app:send({ method = "POST", target = "/kms/derive", inner = { path = "gone " .. i }, conn = conn })
			conn:close()
		end
		expect.ok(app:derive({ path = "p" }))
	end)

	it("after half of it still get an answer when they only close their side", function()
		local conn = assert(http.connect(node.port))
		conn:write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
		conn:finish()
		local response = conn:receive()
		assert.equal(200, response.status)
		conn:close()
	end)
end)

describe("a client that does not read its answers", function()
	it("is cut off, and other clients are served", function()
		local node, app = start({ WRITE_TIMEOUT_SECONDS = 2 })
		finally(function() node:stop() end)
		expect.ok(app:put("large", crypto.random(1 << 20)))
		local silent = apps.new(node, "950", "faults")
		local conn = silent:connection()
		local nonces = {}
		for i = 1, 16 do nonces[i] = app:nonce() app.next_nonce = nil end
		conn.tcp:read_stop()
		for i = 1, 16 do silent:send({ method = "GET", target = "/kms/data/large", nonce = nonces[i] }) end
		for i = 1, 10 do expect.ok(app:derive({ path = "p" .. i })) end
		app:close()
		wait.until_true("the node to cut the connection", function()
			local connections = node:control("GET", "/status").control.connections
			return connections == 0, connections
		end)
		expect.ok(app:derive({ path = "p" }))
		-- What was on its way is there, then the end: not all the answers.
		local total, ended = 0, false
		conn.tcp:read_start(function(_, data)
			if data then total = total + #data else ended = true end
		end)
		wait.until_true("the end", function() return ended end)
		assert.is_true(total < 16 * (1 << 21), total)
		conn:close()
	end)
end)

describe("garbage", function()
	it("on the port is answered or closed, never served, never fatal", function()
		local node, app = start({ FIRST_BYTE_TIMEOUT_SECONDS = 5, HEADER_TIMEOUT_SECONDS = 5 })
		finally(function() node:stop() end)
		local conns = {}
		for i = 1, 200 do
			local conn = assert(http.connect(node.port))
			conn:write(crypto.random(i * 5))
			conns[i] = conn
		end
		for _, conn in ipairs(conns) do
			conn:wait_eof()
			local text = conn:text()
			assert.is_true(text == "" or text:find("^HTTP/1.1 4%d%d ") ~= nil, text)
		end
		close_all(conns)
		expect.ok(app:derive({ path = "p" }))
		assert.is_true(node:alive())
	end)

	it("in bodies and headers of authenticated requests is 400", function()
		local node, app = start({})
		finally(function() node:stop() end)
		for i = 1, 100 do
			local body = crypto.random(i * 3)
			expect.refused(app:derive(nil, { body = body }), 400, "bad_request")
			expect.refused(app:call({ method = "POST", target = "/kms/derive", plain = body }), 400, "bad_request")
		end
		expect.ok(app:derive({ path = "p" }))
	end)
end)

describe("guarded memory that is full", function()
	it("is 503 for who needs more than there is, and everybody else is served", function()
		local node, app = start({
			LOCKED_MEMORY_BYTES = 8 << 20, MAX_KV_VALUE_SIZE_BYTES = 16 << 20, MAX_REQUEST_BODY_BYTES = 64 << 20,
			MAX_APP_STORAGE_BYTES = 64 << 20,
		})
		finally(function() node:stop() end)
		local value = crypto.random(6 << 20)
		for _ = 1, 3 do
			expect.refused(app:put("large", value), 503, "service_unavailable")
			expect.ok(app:derive({ path = "p", length = 1024 }))
		end
		expect.ok(app:put("small", value:sub(1, 1 << 20)))
		assert.is_true(value:sub(1, 1 << 20) == app:value("small"))
		expect.refused(app:get("large"), 404, "not_found")
	end)

	it("is given back: many large requests at once end in 200 or 503, and then all is well", function()
		local node, app = start({ LOCKED_MEMORY_BYTES = 8 << 20 })
		finally(function() node:stop() end)
		local value, list, sent = crypto.random(1 << 20), {}, {}
		for i = 1, 16 do list[i] = apps.new(node, "951", "large " .. i) end
		node:register(list)
		for _ = 1, 3 do
			for _, one in ipairs(list) do one.next_nonce = one:nonce() end
			for i, one in ipairs(list) do
				sent[i] = one:send({
					method = "PUT", target = "/kms/data", inner = { key = "k" .. i % 4, value = crypto.base64(value) },
				})
			end
			for i, one in ipairs(list) do
				local response = one:receive(sent[i])
				if response.status ~= 200 then expect.refused(response, 503, "service_unavailable") end
			end
		end
		for _, one in ipairs(list) do one:close() end
		expect.ok(app:put("after", value))
		assert.is_true(value == app:value("after"))
		assert.is_true(node:alive())
	end)
end)

describe("the log", function()
	it("names no key, path or context, no secret and no body", function()
		local node, app = start({ LOG_LEVEL = "debug" })
		finally(function() node:stop() end)
		expect.ok(app:derive({ path = "very-secret-path", context = "very-secret-context" }))
		expect.ok(app:put("very-secret-key", "very-secret-value"))
		assert.equal("very-secret-value", app:value("very-secret-key"))
		expect.refused(app:get("very-secret-missing"), 404, "not_found")
		expect.refused(app:derive({ path = "" , context = "very-secret" }), 400, "bad_request")
		expect.ok(app:list())
		local log = node:log()
		assert.truthy(log:find("derive", 1, true))
		assert.is_nil(log:find("very-secret", 1, true), log)
		for line in log:gmatch("[^\n]+") do
			assert.equal("table", type(require("cjson").decode(line)), line)
		end
		local seed = files.read(node.dir .. "/node.seed") -- not there on each backend
		assert.is_nil(seed and log:find(seed:sub(1, 16), 1, true))
	end)
end)

backend.only("own keys", describe)("thousands of new keys", function()
	it("of one application are bounded, others go on", function()
		local node, app = start({})
		finally(function() node:stop() end)
		local crowd = {}
		for i = 1, 200 do crowd[i] = apps.new(node, "960", "crowd " .. i) end
		node:register(crowd)
		local refused = 0
		for _, one in ipairs(crowd) do
			local response = one:derive({ path = "p" })
			if response.status == 429 then
				expect.refused(response, 429, "rate_limited")
				refused = refused + 1
			else
				expect.ok(response)
			end
			one:close()
		end
		assert.is_true(refused >= 1 and refused <= 140, refused) -- 60 at once, then one a second
		expect.ok(app:derive({ path = "p" }))
		local other = apps.new(node, "961", "another application")
		node:register({ other })
		expect.ok(other:derive({ path = "p" }))
	end)
end)
