-- One client's bodies must not take the memory that others need: shares, reserves, a minimum pace.

local raw = require("support.raw_http")
local native = require("support.native")
local err = require("kms.base.err")
local http = require("kms.http.server")
local wait = require("spec.support.wait")

local server

-- X-Caller names the caller, X-Member says that it is a member.
local function handler(request)
	local caller = request:header("x-caller")
	local ok, message, code = request:read_body(1 << 20, caller, request:header("x-member") ~= nil)
	if ok then return 200, nil, "read" end
	local _, status = err.wire(code)
	return status, nil, code .. ": " .. message
end

local function start(changes)
	local config = {
		MAX_CONNECTIONS = 100, MAX_CONNECTIONS_PER_ADDRESS = 100, MAX_HEADER_BYTES = 2048,
		MAX_BODY_MEMORY_BYTES = 8 << 20, MAX_APP_BODY_MEMORY_BYTES = 2 << 20, FIRST_BYTE_TIMEOUT_SECONDS = 20,
		HEADER_TIMEOUT_SECONDS = 20, BODY_TIMEOUT_SECONDS = 20, IDLE_TIMEOUT_SECONDS = 20, WRITE_TIMEOUT_SECONDS = 20,
		SHUTDOWN_TIMEOUT_SECONDS = 20,
	}
	for name, value in pairs(changes or {}) do config[name] = value end
	server = http.new({ handler = handler, config = config })
	assert(server:listen("127.0.0.1", 0))
	return server:port()
end

-- Sends a body but for what `missing` says.
local function begin(port, caller, length, missing, field)
	return raw.connect(port):send(("POST /x HTTP/1.1\r\nHost: a\r\nX-Caller: %s\r\n%sContent-Length: %d\r\n\r\n"):format(
		caller, field or "", length) .. ("x"):rep(length - missing))
end

local function in_flight(bytes)
	wait.until_true("bytes in flight", function() return native.http_body_in_flight() == bytes end)
end

describe("bodies", function()
	setup(function()
		collectgarbage()
		collectgarbage()
	end)

	after_each(function()
		raw.close_all()
		local stopped
		server:stop(function() stopped = true end)
		wait.until_true("the server to stop", function() return stopped end)
		assert.equal(0, native.http_body_in_flight())
	end)

	it("of one caller, however many and slow, take no more than its share", function()
		local port = start()
		for _ = 1, 2 do begin(port, "1", 1 << 20, 1) end
		in_flight((2 << 20) - 2)
		local refused = begin(port, "1", 1000, 0):await(1)[1]
		assert.equal(429, refused.status)
		assert.equal("ERR_RATE: too many bodies of this caller in flight", refused.body)
		assert.equal(200, begin(port, "2", 1 << 20, 0):await(1)[1].status)
	end)

	it("that are small, and those of members, have memory when large ones take all that they may", function()
		local port = start()
		for caller = 1, 5 do begin(port, tostring(caller), 1 << 20, 1) end
		in_flight((5 << 20) - 5)
		assert.equal(503, begin(port, "6", 1 << 20, 0):await(1)[1].status)
		assert.equal(200, begin(port, "7", 65536, 0):await(1)[1].status)
		assert.equal(200, begin(port, "8", 1 << 20, 0, "X-Member: 1\r\n"):await(1)[1].status)
	end)

	it("that arrive too slowly end before their time", function()
		local port = start({ MIN_BODY_BYTES_PER_SECOND = 100 })
		local slow = begin(port, "1", 100000, 100000)
		local steady = begin(port, "2", 100000, 100000)
		for _ = 1, 14 do
			slow:send("x")
			steady:send(("x"):rep(1000)) -- ten times what it needs, since these rounds may take longer
			wait.sleep(400)
		end
		local answer = slow:await_end()[1]
		assert.equal(408, answer.status)
		assert.equal("ERR_REQUEST_TIMEOUT: the body arrives too slowly", answer.body)
		steady:send(("x"):rep(100000 - 14000))
		assert.equal(200, steady:await(1)[1].status)
	end)
end)
