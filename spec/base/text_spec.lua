-- Text from outside: what of it may reach a log or a terminal.

local cjson = require("cjson")
local text = require("kms.base.text")

-- First and last of each range of characters that do not show themselves, and a neighbour of each that does.
local HIDDEN = {
	0x80, 0x9f, 0xad, 0x61c, 0x180e, 0x200b, 0x200f, 0x2028, 0x202e, 0x2060, 0x206f, 0xfeff, 0xfff9, 0xfffb, 0xe0000,
	0xe007f,
}
local SHOWN = {
	0xa0, 0xac, 0xae, 0x61b, 0x180d, 0x2010, 0x2027, 0x202f, 0x205f, 0x2070, 0xfefe, 0xfff8, 0xfffc, 0xe0080, 0x1f600,
}

describe("printable", function()
	it("escapes what controls a terminal, quotes and what is not UTF-8", function()
		assert.equal([[a\x1b]0;b\x07\n\r\t\"\\\x7f]], text.printable("a\27]0;b\7\n\r\t\"\\\127"))
		assert.equal([[\xff\xc3\xa4]], text.printable("\255ä"))
		assert.equal("ä€😀", text.printable("ä€😀"))
	end)

	it("escapes what turns, hides or ends what stands beside it", function()
		for _, code in ipairs(HIDDEN) do
			local escaped = text.printable("a" .. utf8.char(code) .. "b")
			assert.truthy(escaped:find("^a\\x[%x\\x]+b$"), escaped)
		end
		for _, code in ipairs(SHOWN) do
			local given = "a" .. utf8.char(code) .. "b"
			assert.equal(given, text.printable(given))
		end
	end)
end)

describe("count", function()
	it("has one of a thing, and several of none and of more", function()
		for want, case in pairs({
			["0 keys"] = { 0, "key" }, ["1 key"] = { 1, "key" }, ["2 keys"] = { 2, "key" }, ["-1 keys"] = { -1, "key" },
			["1 entry"] = { 1, "entry", "entries" }, ["3 entries"] = { 3, "entry", "entries" },
			["21 keys"] = { "21", "key" }, ["1 line"] = { "1", "line" }, ["- lines"] = { "-", "line" },
			["1 day"] = { 1.0, "day" }, ["7 days"] = { 7.0, "day" }, ["0.5 days"] = { 0.5, "day" },
		}) do assert.equal(want, text.count(table.unpack(case))) end
	end)
end)

describe("printable_json", function()
	it("says the same in escapes that a terminal shows", function()
		for _, code in ipairs(HIDDEN) do
			local given = utf8.char(code) .. "ä"
			local shown = text.printable_json(('{"%s":1}'):format(given))
			assert.is_nil(shown:find(utf8.char(code), 1, true))
			assert.equal(1, cjson.decode(shown)[given])
		end
		assert.equal('{"\\u001b]0;\\u0007": "\\u007f"}', text.printable_json('{"\27]0;\7":\r"\127"}'))
		assert.equal('["\\u00ff\\u00c3"]', text.printable_json('["\255\195"]'))
	end)

	it("leaves JSON as it is that shows itself", function()
		local given = '{\n\t"a": "ä€😀 \\u001b \\" \\\\"}\n'
		assert.equal(given, text.printable_json(given))
	end)
end)
