--- Request lines beyond 8 KiB hold memory that all of them share, and each address has a part of it. Where it is
-- full, whoever holds most loses a line that has not arrived.

local fixture = require("spec.support.http_server")
local native = require("support.native")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")
local wakeup = require("kms.async.wakeup")

local LINE = 400000 -- most bytes of a request line
local SHORT = 8192 -- a line up to this is free
local TOTAL, SHARE = 16 << 20, 4 << 20
local ARRIVING, COMPLETE = 2, 4 -- how often a line counts
local END = " HTTP/1.1\r\nHost: a\r\n\r\n"

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
		held(ARRIVING * (SHORT + 1))
		client:send(("a"):rep(1000))
		held(ARRIVING * (SHORT + 1001))
		client:send(END)
		assert.equal(404, client:await(1)[1].status)
		held(0)
	end)

	it("hold more once they are complete, until the reply is made", function()
		local reply = wakeup.new()
		local client = begin(start({ handler = function()
			reply:wait()
			return 204
		end }), SHORT + 1)
		client:send(END)
		held(COMPLETE * (SHORT + 12))
		reply:wake()
		assert.equal(204, client:await(1)[1].status)
		held(0)
	end)

	it("give back what they hold when the client goes, and when they are refused", function()
		local port = start()
		local client = begin(port, LINE)
		held(ARRIVING * LINE)
		client:close()
		held(0)
		assert.equal(414, begin(port, LINE + 1):await_end()[1].status)
	end)

	it("of one address take its share and no more: 429, others are served", function()
		local port = start()
		local fit = SHARE // (ARRIVING * LINE)
		for _ = 1, fit do begin(port, LINE) end
		held(fit * ARRIVING * LINE)
		assert.equal(429, begin(port, LINE):await_end()[1].status)
		local other = begin(port, LINE - 21, "127.0.0.2"):send(END)
		assert.equal(404, other:await(1)[1].status)
		assert.equal(200, raw.connect(port):send(fixture.GET):await(1)[1].status)
	end)

	it("that four addresses leave unfinished keep nobody out: one of them is dropped", function()
		local port = start()
		local fit = SHARE // (ARRIVING * LINE)
		for i = 2, 5 do
			for _ = 1, fit do begin(port, LINE, "127.0.0." .. i) end
			begin(port, SHARE // ARRIVING - fit * LINE, "127.0.0." .. i)
		end
		held(TOTAL)
		assert.equal(404, begin(port, SHORT + 1000):send(END):await(1)[1].status)
		held(TOTAL - ARRIVING * LINE)
	end)

	it("that strangers behind an ingress leave unfinished are dropped for others, the oldest first: 503", function()
		local port = start({ exempt_loopback = true }) -- no shares
		local fit = TOTAL // (ARRIVING * (LINE - 21))
		local unfinished = {}
		for i = 1, fit do
			unfinished[i] = begin(port, LINE - 21)
			held(i * ARRIVING * (LINE - 21))
		end
		assert.equal(404, begin(port, LINE - 21):send(END):await(1)[1].status)
		wait.until_true("room", function() return native.http_lines_in_flight() < fit * ARRIVING * (LINE - 21) end)
		assert.equal(503, unfinished[1]:send("a"):await_end()[1].status)
		assert.equal(404, unfinished[fit]:send(END):await(1)[1].status)
	end)

	it("hold nothing while the client is beyond a limit", function()
		local port = start({ handler = function() return 429, nil, "{}", 5 end })
		assert.equal(429, begin(port, LINE - 21):send(END):await(1)[1].status)
		wait.until_true("the pause", function() return fixture.server.connections:oldest({ "pause" }) end)
		assert.equal(0, native.http_lines_in_flight())
	end)

	it("hold nothing while an unread body is discarded", function()
		local head = "POST /" .. ("a"):rep(LINE - 50) .. " HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"
		local client = raw.connect(start()):send(head)
		assert.equal(404, client:await(1)[1].status)
		wait.until_true("the body", function() return fixture.server.connections:oldest({ "drain" }) end)
		assert.equal(0, native.http_lines_in_flight())
		assert.equal(200, client:send(("a"):rep(60000) .. fixture.GET):await(2)[2].status)
	end)

	it("leave nothing in connections that are idle", function()
		local port = start()
		local function memory_kb()
			collectgarbage()
			collectgarbage()
			return collectgarbage("count")
		end
		local clients = {}
		for i = 1, 20 do clients[i] = raw.connect(port):send(fixture.GET) end
		for _, client in ipairs(clients) do client:await(1) end
		local before = memory_kb()
		for _, client in ipairs(clients) do
			client:send("GET /" .. ("a"):rep(LINE // 2) .. "?" .. ("b"):rep(LINE // 2 - 30) .. END)
			assert.equal(404, client:await(2)[2].status)
		end
		assert.is_true(memory_kb() - before < 2 * LINE / 1024)
	end)
end)
