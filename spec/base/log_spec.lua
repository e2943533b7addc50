--- The log: one bounded line an event, nothing that breaks a line or a terminal, names hashed.

local cjson = require("cjson")
local log = require("kms.base.log")
local text = require("kms.base.text")

describe("kms.base.log", function()
	local lines, now

	local function new(options)
		lines, now = {}, 1700000000123
		local all = {
			format = "json", write = function(line) lines[#lines + 1] = line end, clock = function() return now end,
			hash = function(name) return "hash-of-" .. #name end,
		}
		for name, value in pairs(options or {}) do all[name] = value end
		return log.new(all)
	end

	local function only_line()
		assert.equal(1, #lines)
		assert.equal("\n", lines[1]:sub(-1))
		assert.is_nil(lines[1]:sub(1, -2):find("%c"))
		assert.is_truthy(utf8.len(lines[1]))
		assert.is_true(#lines[1] <= 4096)
		return lines[1]
	end

	it("writes JSON with time, level, event and sorted fields", function()
		new():info("request", { status = 200, request = "r1", ms = 1.5, ok = true })
		assert.equal('{"time":"2023-11-14T22:13:20.123Z","level":"info","event":"request","request":"r1","ms":1.5,'
			.. '"ok":true,"status":200}\n', only_line())
	end)

	it("writes text", function()
		new({ format = "text" }):warn("node tick", { reason = 'says "no"', request = "r1", n = 3, url = "http://a/b" })
		assert.equal('2023-11-14T22:13:20.123Z WARN  node tick request=r1 n=3 reason="says \\"no\\"" url=http://a/b\n',
			only_line())
	end)

	it("keeps large integers exact", function()
		new():info("x", { n = math.maxinteger })
		assert.is_truthy(only_line():find('"n":9223372036854775807}', 1, true))
	end)

	it("stays one line of valid UTF-8 whatever the values are", function()
		for _, format in ipairs({ "json", "text" }) do
			local hostile = "a\r\nb\0\27[31m\127\194\155\255\\\""
			new({ format = format }):error(hostile, {
				[hostile] = hostile, inf = math.huge, nan = 0 / 0, t = {}, f = print, [1] = "x", time = "no", level = "no",
			})
			local line = only_line()
			assert.is_nil(line:find("\27", 1, true))
			if format == "text" then assert.is_nil(line:find("\194\155", 1, true)) end
			assert.is_truthy(line:find("<table>", 1, true))
			if format == "json" then
				local decoded = cjson.decode(line)
				assert.equal("error", decoded.level)
				assert.equal("no", decoded._level)
				assert.equal("inf", decoded.inf)
			end
		end
	end)

	it("bounds the line, marks the cut, and stays valid JSON", function()
		local fields = { short = "s" }
		for i = 1, 50 do fields["field" .. i] = ("\0"):rep(5000) end
		new():info(("e"):rep(5000), fields)
		local decoded = cjson.decode(only_line())
		assert.is_true(decoded.cut)
		assert.equal("...", decoded.event:sub(-3))

		new({ format = "text" }):info("e", fields)
		assert.is_truthy(only_line():find(" cut=true\n", 1, true))

		new():info("fits", { a = "b" })
		assert.is_nil(only_line():find("cut", 1, true))
	end)

	it("fills a line to its last byte and not beyond", function()
		local function with(size)
			local fields = {}
			for i = 1, 3 do fields["a" .. i] = ("x"):rep(1000) end
			fields.z = ("x"):rep(size)
			new():info("e", fields)
			return only_line()
		end
		local size = 500
		while not with(size):find('"cut":true', 1, true) do size = size + 1 end
		-- Room for the mark is kept free, so the longest whole line is shorter by that.
		assert.equal(4096 - #',"cut":true', #with(size - 1))
	end)

	it("writes nothing below its level, and changes it at run time for children too", function()
		local l = new({ level = "warn" })
		local child = l:child({ id = "1" })
		l:info("no")
		child:debug("no")
		assert.is_false(child:enabled("info"))
		assert.equal(0, #lines)
		assert.equal("debug", l:set_level("debug"))
		child:debug("yes")
		assert.is_truthy(only_line():find('"id":"1"', 1, true))
		assert.is_nil((l:set_level("loud")))
		assert.is_nil((l:set_level("")))
		-- As LOG_LEVEL takes them.
		for name, level in pairs({ trace = "debug", TRACE = "debug", Warning = "warn", FATAL = "error", Info = "info" }) do
			assert.equal(level, l:set_level(name))
			assert.equal(level, l:level())
		end
		l:set_level("debug")
		assert.is_true(l:enabled("debug"))
		l:set_level("error")
		l:warn("no")
		l:error("yes")
		assert.equal(2, #lines)
	end)

	it("gives children their fields, which an event's override", function()
		local l = new()
		l:child({ a = 1, b = 2 }):child({ c = 3 }):info("e", { b = 4 })
		local decoded = cjson.decode(only_line())
		assert.same({ 1, 4, 3 }, { decoded.a, decoded.b, decoded.c })
		l:info("e")
		assert.is_nil(lines[2]:find('"a"', 1, true))
	end)

	it("hashes names unless the operator wants them", function()
		assert.equal("hash-of-6", new():name("secret"))
		assert.equal("secret", new({ names = true }):name("secret"))
		assert.is_nil(new():name(nil))
		assert.equal("hidden", new({ hash = function() return nil, "failed" end }):name("secret"))
	end)

	describe("limited", function()
		it("writes once in its time and counts the rest", function()
			local l = new()
			assert.is_true(l:limited("k", 10, "warn", "full"))
			now = now + 9999
			for _ = 1, 5 do assert.is_false(l:limited("k", 10, "warn", "full")) end
			assert.is_true(l:limited("other", 10, "warn", "full"))
			now = now + 1
			assert.is_true(l:limited("k", 10, "warn", "full", { a = 1 }))
			assert.equal(3, #lines)
			assert.equal(5, cjson.decode(lines[3]).suppressed)
			assert.equal(1, cjson.decode(lines[3]).a)
			now = now + 10000
			l:limited("k", 10, "warn", "full")
			assert.is_nil(cjson.decode(lines[4]).suppressed)
		end)

		it("costs nothing while the level is off", function()
			local l = new({ level = "error" })
			assert.is_false(l:limited("k", 10, "warn", "full"))
			l:set_level("warn")
			assert.is_true(l:limited("k", 10, "warn", "full"))
		end)

		it("remembers 256 keys at most, the others share one place", function()
			local l = new()
			for i = 1, 256 do assert.is_true(l:limited("k" .. i, 60, "warn", "x")) end
			assert.is_true(l:limited("k257", 60, "warn", "x"))
			for i = 258, 1000 do assert.is_false(l:limited("k" .. i, 60, "warn", "x")) end
			assert.is_false(l:limited("k1", 60, "warn", "x"))
			assert.equal(257, #lines)
			now = now + 60000
			assert.is_true(l:limited("fresh", 60, "warn", "x"))
			assert.is_false(l:limited("fresh", 60, "warn", "x"))
			assert.is_true(l:limited("k258", 60, "warn", "x"))
		end)

		it("survives a clock that goes back", function()
			local l = new()
			l:limited("k", 10, "warn", "x")
			now = now - 3600000
			assert.is_true(l:limited("k", 10, "warn", "x"))
			assert.is_false(l:limited("k", 10, "warn", "x"))
		end)
	end)

	it("refuses misuse", function()
		assert.error_matches(function() new({ level = "loud" }) end, "unknown log level")
		assert.error_matches(function() new({ format = "xml" }) end, "unknown log format")
		assert.error_matches(function() log.new({ clock = os.time }) end, "hash is required")
		assert.error_matches(function() log.new({ names = true }) end, "clock is required")
		assert.error_matches(function() new():log("loud", "x") end, "unknown log level")
	end)

	it("writes JSON to standard error where that is no terminal", function()
		local path = os.tmpname()
		local script = 'require("kms.base.log").new({ names = true, clock = function() return 0 end }):info("hello")'
		assert(os.execute(("LUA_PATH='lua/?.lua' lua5.4 -e '%s' 2>%s"):format(script, path)))
		local file <close> = assert(io.open(path))
		assert.equal('{"time":"1970-01-01T00:00:00.000Z","level":"info","event":"hello"}\n', file:read("a"))
		os.remove(path)
	end)
end)

describe("kms.base.text", function()
	it("cuts between characters", function()
		assert.same({ "abc", false }, { text.cut("abc", 3) })
		assert.same({ "a...", true }, { text.cut("abcde", 4) })
		assert.same({ "a...", true }, { text.cut("aéé12", 5) })
		assert.same({ "aé...", true }, { text.cut("aéé12", 6) })
		assert.same({ "...", true }, { text.cut("€€", 5) })
	end)

	it("masks long runs of hexadecimal digits only", function()
		assert.equal("x ***.", text.mask_keys("x " .. ("a1"):rep(32) .. "."))
		assert.equal(("a"):rep(63), text.mask_keys(("a"):rep(63)))
	end)
end)
