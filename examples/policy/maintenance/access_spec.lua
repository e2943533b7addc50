local p = require("kms.policy.testing").open()

describe("maintenance", function()
	it("lets reads through", function()
		assert.is_true(p:derive())
		assert.is_true(p:get())
		assert.is_true(p:list())
	end)

	it("asks writers to come back", function()
		assert.same({ 503, 600 }, { p:put().status, p:put().retry_after })
		assert.equal("read-only during maintenance", p:delete().reason)
	end)
end)
