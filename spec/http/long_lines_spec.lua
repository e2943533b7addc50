--- Request lines beyond 8 KiB hold memory that all of them share, and each address has a part of it.

local fixture = require("spec.support.http_server")
local native = require("support.native")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")

local LINE = 400000 -- most bytes of a request line
local SHORT = 8192 -- a line up to this is free
local TOTAL, SHARE, COPIES = 16 << 20, 4 << 20, 4

local function held(bytes)
	wait.until_true(bytes .. " bytes", function() return native.http_lines_in_flight() == bytes end)
end

-- A request line of which `len` bytes have been sent.
local function begin(port, len, from)
	return raw.connect(port, false, from):send("GET /" .. ("a"):rep(len - 5))
end

describe("long request lines", function()
	fixture.use({ setup = setup, before_each = before_each, after_each = after_each })

	local function start(options)
		options = options or {}
		options.max_line_bytes = LINE
		return fixture.start(nil, options)
	end

	after_each(function() held(0) end)

	it("are free up to 8 KiB, and charged as they arrive beyond", function()
		local port = start()
		local client = begin(port, SHORT)
		wait.until_true("its head", function() return fixture.server.connections:oldest({ "head" }) end)
		assert.equal(0, native.http_lines_in_flight())
		client:send("a")
		held(COPIES * (SHORT + 1))
		client:send(("a"):rep(1000))
		held(COPIES * (SHORT + 1001))
		client:send(" HTTP/1.1\r\nHost: a\r\n\r\n")
		assert.equal(404, client:await(1)[1].status)
		held(0)
	end)

	it("give back what they hold when the client goes, and when they are refused", function()
		local port = start()
		local client = begin(port, LINE)
		held(COPIES * LINE)
		client:close()
		held(0)
		assert.equal(414, begin(port, LINE + 1):await_end()[1].status)
	end)

	it("of one address take its share and no more: 429, others are served", function()
		local port = start()
		local fit = SHARE // (COPIES * LINE)
		for _ = 1, fit do begin(port, LINE) end
		held(fit * COPIES * LINE)
		assert.equal(429, begin(port, LINE):await_end()[1].status)
		local other = begin(port, LINE - 21, "127.0.0.2"):send(" HTTP/1.1\r\nHost: a\r\n\r\n")
		assert.equal(404, other:await(1)[1].status)
		assert.equal(200, raw.connect(port):send(fixture.GET):await(1)[1].status)
	end)

	it("take their memory and no more: 503, short ones are served", function()
		local port = start({ exempt_loopback = true }) -- behind an ingress: no shares
		local fit = TOTAL // (COPIES * LINE)
		for _ = 1, fit do begin(port, LINE) end
		held(fit * COPIES * LINE)
		assert.equal(503, begin(port, LINE):await_end()[1].status)
		assert.equal(200, raw.connect(port):send(fixture.GET):await(1)[1].status)
	end)
end)
