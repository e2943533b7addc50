local p = require("kms.policy.testing").open()

describe("about-route", function()
	it("says who runs the node", function()
		assert.same({ operator = "Example Ltd", contact = "ops@example.org", node = "https://b.example", ready = false },
			p:page("/about", { url = "https://b.example", ready = false }))
		assert.is_nil(p:page("/other"))
	end)
end)
