--- JSON output.

local cjson = require("cjson")
local json = require("kms.base.json")

describe("kms.base.json", function()
	it("sorts keys, keeps integers exact and empty lists lists", function()
		assert.equal('{"a":[],"b":[1,"x"],"c":{"d":9223372036854775807,"e":-0.5,"f":null,"g":true}}', json.encode({
			c = { g = true, f = cjson.null, e = -0.5, d = math.maxinteger }, b = { 1, "x" }, a = json.list({}),
		}))
		assert.equal("{}", json.encode({}))
	end)

	it("escapes what has to be, and never writes invalid UTF-8", function()
		assert.equal('"\\"\\n\\\\xff"', json.encode('"\n\255'))
		assert.equal('{"\\u0000":"é"}', json.encode({ ["\0"] = "é" }))
	end)

	it("refuses what has no JSON", function()
		for _, value in ipairs({ print, math.huge, -math.huge, 0 / 0, { [true] = 1 }, { a = { b = print } } }) do
			assert.has_error(function() json.encode(value) end)
		end
	end)

	it("nests 16 deep and no deeper", function()
		local function nested(levels)
			local value = "x"
			for _ = 1, levels do value = { value } end
			return json.encode(value)
		end
		assert.equal(("["):rep(16) .. '"x"' .. ("]"):rep(16), nested(16))
		assert.error_matches(function() nested(17) end, "too deeply")
	end)
end)
