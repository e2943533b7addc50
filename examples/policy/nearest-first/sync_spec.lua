local p = require("kms.policy.testing").open()

describe("nearest-first", function()
	it("orders peers by round trip", function()
		assert.same({ "0xb", "0xc", "0xa", "0xd" }, p:order({
			{ wallet = "0xd" }, { wallet = "0xa", rtt_ms = 90 }, { wallet = "0xb", rtt_ms = 3 },
			{ wallet = "0xc", rtt_ms = 4.5 },
		}))
		assert.same({}, p:order({}))
	end)

	it("leaves the rest as shipped", function()
		assert.is_true(p:release_secret())
		assert.equal(2, p:backoff(2))
	end)
end)
