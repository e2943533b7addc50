--- Attempts to get out of the policy VM, or to hold the node up from within. Each one fails; the
-- VM answers the next call as before, and the node's own Lua state is untouched.

local native = require("spec.support.native")

local MAX_SECONDS = 1 -- of a call, on a slow machine under a sanitizer; 0.02 are meant

local NODE_STRING = getmetatable("")

-- What must not change in this state: globals, loaded modules, the string type, the debug hook.
local function fingerprint()
	local parts = {}
	for name, value in pairs(_G) do parts[#parts + 1] = ("%s=%s"):format(name, tostring(value)) end
	for name, value in pairs(package.loaded) do parts[#parts + 1] = ("%s=%s"):format(name, tostring(value)) end
	for name, value in pairs(string) do parts[#parts + 1] = ("string.%s=%s"):format(name, tostring(value)) end
	for name, value in pairs(NODE_STRING) do parts[#parts + 1] = ("mt.%s=%s"):format(name, tostring(value)) end
	parts[#parts + 1] = tostring(debug.gethook()) .. tostring(getmetatable(""))
	table.sort(parts)
	return table.concat(parts, "\n")
end

local FACTS = { app_id = "7", path = "wallet/root", list = { "b", "a" } }

local PRELUDE = "local M = {}\nfunction M.ok(r) if r.app_id ~= '7' then return false end end\n"

local function load_vm(body, options)
	local vm = assert(native.policy_vm(options or {}))
	local ok, message, code, why = vm:load("access", PRELUDE .. body .. "\nreturn M")
	return vm, ok, message, code, why
end

local function call(vm, hook, kind)
	return vm:call("access." .. hook, kind or "verdict", 1700000000000, 1000, FACTS)
end

-- The VM goes on as if nothing had been: its own functions and libraries work.
local function assert_usable(vm)
	for _ = 1, 3 do assert.is_true((call(vm, "ok"))) end
	assert(vm:load("after", [[
		assert(("abc"):upper() == "ABC" and #string.rep("x", 3) == 3)
		local t = { 3, 1, 2 }
		table.sort(t)
		assert(table.concat(t) == "123" and math.max(1, 2) == 2 and utf8.char(228) == "\u{e4}")
		assert(kms.match("a*", "abc"))
		return {}
	]]))
	local used, cap = vm:memory()
	assert.is_true(used < cap)
end

local function attempt(body, why)
	local before = fingerprint()
	local vm, loaded, message = load_vm("function M.try(r)\n" .. body .. "\nend")
	assert(loaded, message)
	for _ = 1, 2 do
		local begun = os.clock()
		local result, text, code, kind = call(vm, "try")
		assert.is_true(os.clock() - begun < MAX_SECONDS, "it took too long to be stopped")
		assert.is_nil(result, "it was not stopped")
		assert.equal("ERR_POLICY", code)
		assert.equal(why, kind, text)
		assert.matches("^access%.lua:%d+: ", text)
		assert.is_nil(text:find("0x%x%x%x%x"), "an address is shown: " .. text)
		assert_usable(vm)
	end
	vm:close()
	assert.equal(before, fingerprint())
end

-- Names that are not there, each called as it would be.
local MISSING = {
	"load('return 1')()", "loadstring('return 1')()", "loadfile('/etc/passwd')", "dofile('/etc/passwd')",
	"require('io')", "io.open('/etc/passwd')", "os.execute('true')", "os.exit(1)", "os.time()",
	"package.loadlib('libc.so.6', '*')", "debug.sethook()", "debug.getregistry()", "debug.getupvalue(print, 1)",
	"getmetatable('').__index = {}", "setmetatable({}, {})", "rawset(string, 'len', 1)", "rawget(_G, 'x')",
	"rawequal(1, 1)", "rawlen({})", "collectgarbage('stop')", "collectgarbage('setpause', 100000)",
	"coroutine.create(function() end)", "coroutine.wrap(function() end)()", "coroutine.close(1)",
	"xpcall(error, error)", "print('x')", "warn('@on')", "_G.x = 1", "getfenv()", "setfenv(1, {})", "newproxy(true)",
	"string.dump(function() end)", "string.match('a', 'a')", "string.gmatch('a', 'a')", "string.gsub('a', 'a', 'b')",
	"('a'):gsub('a', 'b')", "('a'):match('a')", "string.pack('i', 1)", "string.unpack('i', 'aaaa')",
	"string.packsize('i')",
	"math.random()", "math.randomseed(1)", "utf8.charpattern:len()", "utf8.codepoint('abc', 1, -1)", "jit.off()",
	"unpack({})", "table.getn({})", "kms.secret()", "kms.native()",
}

-- Writes to what is locked.
local WRITES = {
	"string.upper = nil", "string.evil = 1", "table.concat = nil", "math.pi = 3", "utf8.char = nil", "kms.log = nil",
	"kms.evil = 1", "evil = 1", "string = {}", "kms = nil", "pcall = nil", "_ENV.evil = 1", "_ENV = _ENV; evil = 1",
	"r.app_id = '8'", "r.evil = 1", "table.insert(string, 1)", "table.sort(string)", "table.insert(r, 1)", "table.sort(r)",
	"table.move({ 1 }, 1, 1, 1, string)", "table.move({ 1 }, 1, 1, 1, r)", "table.remove(kms)",
	"for k in next, string do r[k] = 1 end", "for k in pairs(kms) do r[k] = 1 end", "next(r)", "#string", "('x').evil = 1",
}

-- Endless or costly within one call.
local OVERRUNS = {
	["a loop"] = "while true do end",
	["a goto loop"] = "::again:: goto again",
	["an integer for loop"] = "for i = math.mininteger, math.maxinteger do end",
	["a float for loop"] = "for i = 1.0, 1e300 do end",
	["a repeat loop"] = "repeat until false",
	["a loop in pcall"] = "pcall(function() while true do end end)",
	["a loop of pcalls"] = "while true do pcall(error) end",
	["pcalls that swallow the end"] = "local function f() while true do pcall(f) end end while true do pcall(f) end",
	["nested pcalls of pcall"] = "while true do pcall(pcall, pcall, pcall, error) end",
	["endless tail calls"] = "local function f() return f() end return f()",
	["mutual tail calls"] = "local g local function f() return g() end g = function() return f() end return f()",
	["an iterator without end"] = "for _ in function() return 1 end do end",
	["next over and over"] = "local t = { 1, 2, 3 } while true do next(t) end",
	["emptied tables"] = "local t = {} for i = 1, 5000 do t[i] = i end for i = 1, 5000 do t[i] = nil end "
		.. "while true do next(t) end",
	["a hostile comparator"] = "local t = {} for i = 1, 3000 do t[i] = i end "
		.. "while true do pcall(table.sort, t, function() return true end) end",
	["a comparator that loops"] = "table.sort({ 2, 1 }, function() while true do end end)",
	["a comparator that grows"] = "local t = { 1, 2, 3 } table.sort(t, function() while true do t[#t + 1] = 1 end end)",
	["sorting again and again"] = "local t = {} for i = 1, 3000 do t[i] = -i end while true do table.sort(t) end",
	["inserting at the front"] = "local t = {} while true do table.insert(t, 1, 1) end",
	["removing at the front"] = "local t = {} for i = 1, 9000 do t[i] = i end while true do "
		.. "table.remove(t, 1) t[#t + 1] = 1 end",
	["moving"] = "local t = { 1 } while true do table.move(t, 1, 60000, 2) end",
	["many small strings"] = "local i = 0 while true do i = i + 1 local s = 'k' .. i end",
	["concatenating to the cap"] = "local s = ('x'):rep(60000) while true do local a = s .. 'y' end",
	["upper over and over"] = "local s = ('x'):rep(60000) while true do s:upper() end",
	["reverse over and over"] = "local s = ('x'):rep(60000) while true do s:reverse() end",
	["find over and over"] = "local s = ('a'):rep(60000) while true do s:find('aaaaaaaab', 1, true) end",
	["a slow find"] = "local s, n = ('a'):rep(60000), ('a'):rep(30000) .. 'b' while true do s:find(n, 1, true) end",
	["slow globs"] = "local s = ('a'):rep(8000) while true do kms.match('*a*a*a*a*a*a*a*a*b', s) end",
	["a slow glob"] = "local s = ('a'):rep(8000) while true do kms.match(('*' .. ('a'):rep(200)) .. 'b', s) end",
	["comparing long strings"] = "local a, b = ('x'):rep(65000) .. 'a', ('x'):rep(65000) .. 'b' "
		.. "local n = 0 while true do if a < b then n = n + 1 end end",
	["equal long strings"] = "local a, b = ('x'):rep(65000) .. 'a', ('x'):rep(65000) .. 'a' "
		.. "local n = 0 while true do if a == b then n = n + 1 end end",
	["comparing texts of NULs"] = "local s = ('\\0'):rep(65535) while s < s or true do end",
	["numbers that collide"] = "local t = {} for i = 1, math.maxinteger do t[i * 65535] = 1 end",
	["sorting long texts"] = "local s, t = ('\\0'):rep(65535), {} for i = 1, 2500 do t[i] = s end table.sort(t)",
	["characters by long texts"] = "local s = ('0'):rep(65535) local function f(n, ...) if n == 0 then "
		.. "return string.char(...) end return f(n - 1, s, s, s, s, s, s, s, s, s, s, ...) end return f(200)",
	["code points by long texts"] = "local s = ('0'):rep(65535) local function f(n, ...) if n == 0 then "
		.. "return utf8.char(...) end return f(n - 1, s, s, s, s, s, s, s, s, s, s, ...) end return f(200)",
	["the largest of long texts"] = "local s = ('0'):rep(65535) local function f(n, ...) if n == 0 then "
		.. "return math.max(...) end return f(n - 1, s, s, s, s, s, s, s, s, s, s, ...) end return f(200)",
	["counting code points"] = "local s = ('x'):rep(60000) while true do utf8.len(s) end",
	["formatting"] = "while true do local s = string.format('%99d%99d%99d%99d', 1, 2, 3, 4) end",
	["concatenating tables"] = "local t = {} for i = 1, 4000 do t[i] = 'x' end while true do table.concat(t) end",
	["logging"] = "while true do kms.log('info', 'x') end",
	["counting"] = "while true do kms.count('x', { a = 'b' }) end",
	["asking for peers"] = "while true do kms.peers() end",
	["limits"] = "local i = 0 while true do i = i + 1 kms.limit('k' .. i, 1, 1) end",
	["long argument lists"] = "local function f(...) return f(1, 2, 3, 4, 5, 6, 7, 8, 9, ...) end return f()",
	["counting arguments"] = "local t = table.pack(('x'):rep(250):byte(1, 250)) "
		.. "while true do select('#', table.unpack(t)) end",
	["garbage"] = "while true do local t = { {}, {}, {} } end",
	["pairs over facts"] = "while true do for _ in pairs(r) do end end",
	["a closed variable"] = "while true do local x <close> = nil end",
	["closures"] = "local f while true do local g = f f = function() return g end f = nil end",
}

-- Memory: what is stopped by the cap on bytes, or on a string.
local MEMORY = {
	["doubling a string"] = "local s = 'x' while true do s = s .. s end",
	["concatenating many"] = "local s = ('x'):rep(60000) return s .. s .. s .. s",
	["table.concat"] = "local t, s = {}, ('x'):rep(1000) for i = 1, 100 do t[i] = s end return table.concat(t)",
	["string.format"] = "local s = ('x'):rep(60000) return string.format('%s%s', s, s)",
	["caught in pcall"] = "local s = 'x' pcall(function() while true do s = s .. s end end) return true",
}

-- Errors: refused by a check, and nothing more.
local ERRORS = {
	["string.rep"] = "return ('x'):rep(1 << 30)",
	["string.rep beyond an integer"] = "return ('xx'):rep(math.maxinteger)",
	["string.rep with a separator"] = "return (''):rep(math.maxinteger, 'x')",
	["string.rep of a negative overflow"] = "return ('x'):rep(1e308)",
	["deep recursion of C calls"] = "local function f() return pcall(table.sort, { 1, 2 }, f) end "
		.. "local function g() return select(2, table.unpack({ f() }, 1, 2)) end error(g())",
	["unpack"] = "return table.unpack({}, 1, 1e7)",
	["unpack to the largest integer"] = "return table.unpack({}, 1, math.maxinteger)",
	["unpack over the whole range"] = "return table.unpack({}, math.mininteger, math.maxinteger)",
	["table.move"] = "table.move({}, 1, math.maxinteger - 1, 2)",
	["table.concat over nothing"] = "return table.concat({}, '', 1, math.maxinteger)",
	["table.insert far away"] = "table.insert({}, math.mininteger, 1)",
	["string.byte of much"] = "return ('x'):rep(60000):byte(1, -1)",
	["a pattern in find"] = "return r.path:find('.-.-.-.-x')",
	["a long glob"] = "return kms.match(('*a'):rep(200), 'x')",
	["a long subject"] = "return kms.match('*', ('x'):rep(9000))",
	["format of an address"] = "return string.format('%p', {})",
	["format of an address behind a NUL"] = "return string.format('\\0%p', {})",
	["format widths"] = "return string.format('%1000d', 1)",
	["a table as an error"] = "error({ __tostring = function() end })",
	["a function as an error"] = "error(function() while true do end end)",
	["nil as an error"] = "error()",
	["facts as an error"] = "error(r)",
	["indexing nil"] = "return r.list.x.y",
	["calling facts"] = "return r()",
	["the iterator of facts on a number"] = "return (pairs(r))(0x41414141)",
	["the iterator of facts on a text"] = "return (pairs(r))(('A'):rep(200))",
	["the iterator of facts on facts"] = "return (pairs(r))(r)",
	["the iterator of facts on a library"] = "return (pairs(r))(string)",
	["the iterator of facts on nothing"] = "return (pairs(r))()",
	["an unclosable variable"] = "local x <close> = {}",
	["_ENV as nothing"] = "local _ENV = nil return string.rep",
	["_ENV of one's own"] = "local _ENV = {} return load(r)",
	["a number as an index chain"] = "return (5).x",
	["an index chain of strings"] = "return ('x').y.z",
	["tonumber in a wrong base"] = "return tonumber('z', 99)",
	["integer division"] = "return 1 // 0",
	["a bad log level"] = "kms.log('fatal', 'x')",
	["a hostile label"] = "kms.count('x', { ['a\"} 1\\nevil 2'] = 'b' })",
	["a counter's name behind a NUL"] = "kms.count('x\\0\\n' .. r.path)",
	["a label behind a NUL"] = "kms.count('x', { ['a\\0\\n' .. r.path] = 'b' })",
	["a field behind a NUL"] = "kms.log('info', 'x', { ['a\\0\\n' .. r.path] = 'b' })",
	["too many labels"] = "kms.count('x', { a = 1, b = 1, c = 1, d = 1, e = 1 })",
	["a table in a log line"] = "kms.log('info', 'x', { a = {} })",
	["a long message"] = "kms.log('info', ('x'):rep(513))",
	["a NaN rate"] = "return kms.limit('k', 0 / 0, 1)",
	["an endless burst"] = "return kms.limit('k', 1, math.huge)",
}

-- Returned instead of a verdict.
local NONSENSE = {
	["a number"] = "return 1",
	["a text"] = "return 'yes'",
	["a function"] = "return function() return true end",
	["facts"] = "return r",
	["an empty table"] = "return {}",
	["status 200"] = "return { status = 200 }",
	["a status as text"] = "return { status = '403' }",
	["half a status"] = "return { status = 403.5 }",
	["an unknown member"] = "return { status = 403, allow = true }",
	["a list"] = "return { status = 403, true }",
	["a reason that is no text"] = "return { status = 403, reason = {} }",
	["a reason that is too long"] = "return false, ('x'):rep(513)",
	["a negative wait"] = "return { status = 429, retry_after = -1 }",
	["a wait that is no number"] = "return { status = 429, retry_after = '1' }",
	["an endless wait"] = "return { status = 429, retry_after = math.huge }",
	["a wait that is NaN"] = "return { status = 429, retry_after = 0 / 0 }",
}

describe("the policy VM", function()
	for _, body in ipairs(MISSING) do
		it("does not have " .. body, function() attempt("return " .. body:gsub("^(.-) = .*$", "%1"), "error") end)
	end

	for _, body in ipairs(WRITES) do
		-- Some of these do not even compile.
		it("refuses " .. body, function()
			local before = fingerprint()
			local vm, loaded = load_vm("function M.try(r) " .. (body:find("^[#n]") and "return " or "") .. body .. " end")
			if loaded then
				local result, text, _, why = call(vm, "try")
				assert.is_nil(result, body)
				assert.equal("error", why, text)
				assert_usable(vm)
			end
			assert.equal(before, fingerprint())
		end)
	end

	for name, body in pairs(OVERRUNS) do
		it("stops " .. name, function() attempt(body, "overrun") end)
	end

	for name, body in pairs(MEMORY) do
		it("has no memory for " .. name, function() attempt(body, "memory") end)
	end

	for name, body in pairs(ERRORS) do
		it("refuses " .. name, function() attempt(body, "error") end)
	end

	for name, body in pairs(NONSENSE) do
		it("takes as no verdict " .. name, function() attempt(body, "nonsense") end)
	end

	it("has no memory for what is kept", function()
		local vm, loaded = load_vm("local kept = {}\nfunction M.try(r) for i = 1, 20000 do kept[#kept + 1] = { i } end end",
			{ instructions = 10000000, memory = 1 << 20 })
		assert.is_true(loaded)
		local result, text, code, why = call(vm, "try")
		assert.is_nil(result)
		assert.same({ "ERR_POLICY", "memory" }, { code, why }, text)
		assert.matches("^access%.lua:4: it needs too much memory", text)
	end)

	-- From Lua 5.4.5 on, a stack that is being resized cannot be looked at.
	it("ends a call in which Lua's own stack grows, and says where", function()
		local body = "local function f(...) return f(1, 2, 3, 4, 5, 6, 7, 8, 9, ...) end f()"
		for memory, want in pairs({
			[8 << 20] = "^access%.lua:4: it runs too long$", [128 << 10] = "it needs too much memory$",
		}) do
			local vm, loaded, message = load_vm("function M.try(r)\n" .. body .. "\nend", { memory = memory })
			assert(loaded, message)
			local result, text = call(vm, "try")
			assert.is_nil(result)
			assert.matches(want, text)
			assert_usable(vm)
		end
	end)

	it("ends deep recursion, of Lua functions and of pcall", function()
		for body, why in pairs({
			["local function f() return 1 + f() end return f()"] = "memory",
			["local function f() return pcall(f) end f() while true do f() end"] = "overrun",
			["local function f(n) local ok, e = pcall(f, n + 1) if not ok then error(e, 0) end end f(1) error('end')"] = "error",
			["local t = {} for i = 1, 5000 do t = { t } end while true do t = t[1] or {} end"] = "overrun",
		}) do
			local vm, loaded, message = load_vm("function M.try(r)\n" .. body .. "\nend", { memory = 1 << 20 })
			assert(loaded, message)
			local result, text, _, kind = call(vm, "try")
			assert.is_nil(result)
			assert.is_true(kind == why or kind == "overrun", text)
			assert_usable(vm)
		end
	end)

	it("refuses bytecode", function()
		local vm = assert(native.policy_vm({}))
		for _, strip in ipairs({ true, false }) do
			local ok, message, code, why = vm:load("access", string.dump(function() return {} end, strip))
			assert.is_nil(ok)
			assert.same({ "ERR_POLICY", "error" }, { code, why })
			assert.matches("binary", message)
		end
		assert(vm:load("access", PRELUDE .. "return M"))
		assert_usable(vm)
	end)

	it("refuses a file that does harm while it is loaded", function()
		for source, why in pairs({
			["while true do end"] = "overrun",
			["local t = {} for i = 1, 1e9 do t[i] = { i } end"] = "memory",
			["local s = 'x' while true do s = s .. s end"] = "memory",
			["return 1"] = "error", [""] = "error", ["return {}, {"] = "error", ["error('x')"] = "error",
			["kms.log('info', 'x') return {}"] = "error", ["kms.now() return {}"] = "error",
			["kms.limit('x', 1, 1) return {}"] = "error", ["kms.peers() return {}"] = "error",
			["return " .. ("("):rep(10000) .. "1" .. (")"):rep(10000)] = "error",
			["return " .. ("{"):rep(10000) .. ("}"):rep(10000)] = "error",
			["return { '" .. ("x"):rep(70000) .. "' }"] = "memory",
			["return { " .. ("'x',"):rep(60000) .. "}"] = "memory",
			["local x = " .. ("not "):rep(5000) .. "1 return {}"] = "error",
			["goto nowhere return {}"] = "error", ["\27Lua"] = "error", ["#!/bin/sh\nreturn {}"] = "error",
		}) do
			local vm = assert(native.policy_vm({ memory = 1 << 20 }))
			local ok, text, _, kind = vm:load("access", source)
			assert.is_nil(ok, source:sub(1, 60))
			assert.equal(why, kind, source:sub(1, 60) .. ": " .. text)
			assert(vm:load("access", PRELUDE .. "return M"))
			assert_usable(vm)
		end
	end)

	it("refuses a file that takes long to compile: more than 8192 jumps in lists", function()
		for _, word in ipairs({ " and b", " or b" }) do
			local vm = assert(native.policy_vm({}))
			assert(vm:load("access", "local a, b\nreturn { x = a" .. word:rep(8192) .. " }"))
			local ok, text, _, kind = vm:load("access", "local a, b\nreturn { x = a" .. word:rep(8193) .. " }")
			assert.same({ nil, "overrun" }, { ok, kind }, text)
			assert.matches("it takes too long to compile: it has more than 8192 of", text)
			assert(vm:load("access", PRELUDE .. "return M"))
			assert_usable(vm)
		end
	end)

	it("cannot read what is beyond itself, in another file or after a call", function()
		local vm, loaded = load_vm("local seen\nfunction M.keep(r)\nlocal old = seen seen = r\n"
			.. "return { old = old and old.app_id } end")
		assert.is_true(loaded)
		assert.same({}, call(vm, "keep", "data"))
		-- What a policy keeps is its own copy: the node's table is not behind it.
		local facts = { app_id = "7" }
		assert(vm:call("access.keep", "data", 1, 1, facts))
		facts.app_id = "8"
		assert.equal("7", vm:call("access.keep", "data", 1, 1, facts).old)
		assert(vm:load("other", "return {}"))
		assert.is_true((call(vm, "no_such_hook")))
	end)

	it("shows no address and no metatable", function()
		local vm, loaded = load_vm([[
			function M.try(r)
				local shown = {}
				for i, v in ipairs({ r, string, kms.log, function() end, {}, kms }) do
					shown[i] = tostring(v) .. string.format("%s", v) .. type(v)
				end
				return { text = table.concat(shown, " ") }
			end]])
		assert.is_true(loaded)
		local text = call(vm, "try", "data").text
		assert.equal("tabletabletable tabletabletable functionfunctionfunction functionfunctionfunction "
			.. "tabletabletable tabletabletable", text)
	end)
end)
