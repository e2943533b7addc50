local quantity = require("kms.chain.quantity")

describe("quantity", function()
	it("reads what fits 63 bits, and nothing else", function()
		for text, number in pairs({
			["0x0"] = 0, ["0x1f"] = 31, ["0xFF"] = 255, ["0x7fffffffffffffff"] = math.maxinteger, ["0x00"] = 0,
		}) do assert.equal(number, quantity.parse(text), text) end
		local others = { "", "0x", "1", "0x8000000000000000", "0x10000000000000000", "0xg", " 0x1", "0x1 ", "0x1p2" }
		for _, text in ipairs(others) do assert.is_nil(quantity.parse(text), text) end
		assert.is_nil(quantity.parse(nil))
		assert.is_nil(quantity.parse(5))
		assert.equal("0x0", quantity.format(0))
		assert.equal("0x7fffffffffffffff", quantity.format(math.maxinteger))
	end)
end)
