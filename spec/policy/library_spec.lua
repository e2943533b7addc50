--- The parts of Lua's libraries that policies have behave as in Lua; and kms.match.

local native = require("spec.support.native")

describe("the libraries of a policy", function()
	it("does what strings and tables do elsewhere", function()
		local vm = assert(native.policy_vm({}))
		assert(vm:load("access", [[
			return { try = function(r)
				return {
					find = { ("a.b.c"):find(".", 3, true) }, none = ("abc"):find("x") == nil, empty = { ("abc"):find("", 4) },
					behind = ("abc"):find("a", -1) == nil, far = { ("abc"):find("b", -100) },
					farthest = { ("abc"):find("b", math.mininteger, true) }, past = ("abc"):find("", 9) == nil,
					bytes = { ("abc"):byte(-2, -1) }, rep = ("ab"):rep(2, "-"), zero = (""):rep(1 << 60), neg = ("x"):rep(-1),
					number = tonumber("0x10"), base = tonumber("zz", 36), long = tonumber(("1"):rep(300)) == nil,
					format = ("%5.1f|%q|%-3d|%x|%%"):format(1.25, "a\n", 7, 255), sub = ("hello"):sub(2, -2),
					select = { select(-1, 1, 2, 3) }, len = utf8.len("\u{e4}b"), pcall = { pcall(error, "x", 0) },
					unpack = { table.unpack({ 1, 2, 3 }, 2) }, pack = table.pack(1, nil, 3).n,
				}
			end }]]))
		assert.same({
			find = { 4, 4 }, none = true, empty = { 4, 3 }, behind = true, far = { 2, 2 }, farthest = { 2, 2 }, past = true,
			bytes = { 98, 99 },
			rep = "ab-ab", zero = "", neg = "", number = 16, base = 1295, long = true, format = ("%5.1f|%q|%-3d|%x|%%"):format(
			1.25, "a\n", 7, 255), sub = "ell", select = { 3 }, len = 2, pcall = { false, "x" }, unpack = { 2, 3 }, pack = 3,
		}, (vm:call("access.try", "data", 1, 1, { app_id = "7" })))
	end)

	it("matches globs", function()
		local vm = assert(native.policy_vm({}))
		assert(vm:load("access", [[
			local cases = {
				{ "", "", true }, { "", "a", false }, { "*", "", true }, { "a", "a", true }, { "a", "b", false },
				{ "?", "a", true }, { "?", "", false }, { "a*", "abc", true }, { "*c", "abc", true }, { "a*c", "abbc", true },
				{ "a*d", "abbc", false }, { "*b*", "abc", true }, { "**", "x", true }, { "a?c*e", "abcde", true },
				{ "wallet/*", "wallet/a/b", true }, { "wallet/*", "wallet", false }, { "*.*", "a.b", true }, { "%a", "x", false },
				{ "a*b*c", "aXbXbXc", true }, { "a*b*c", "aXcXb", false }, { "\0*", "\0x", true },
			}
			for _, c in ipairs(cases) do assert(kms.match(c[1], c[2]) == c[3], c[1] .. " on " .. c[2]) end
			return {}]]))
	end)
end)
