local p = require("kms.policy.testing").open()

local IMAGE = "8a1d3f5b7c9e0a2b4c6d8e0f1a3b5c7d9e0f2a4b6c8d0e1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c0d2e4f6a8b0c1d3e5f"
local POLICY = "1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c0d2e4f6a8b0c1d3e5f8a1d3f5b7c9e0a"

describe("pcr-list", function()
	it("gives the secret to a listed image under a listed policy", function()
		assert.is_true(p:release_secret({}, { pcrs = { [0] = IMAGE }, policy = POLICY }))
	end)

	it("gives it to nobody else", function()
		assert.equal("an attestation is required", p:release_secret().reason)
		assert.equal("image is not on the list", p:release_secret({}, { policy = POLICY }).reason)
		assert.equal("policy is not on the list", p:release_secret({}, { pcrs = { [0] = IMAGE } }).reason)
		assert.equal("not an enclave",
			p:release_secret({}, { pcrs = { [0] = IMAGE }, policy = POLICY, simulated = true }).reason)
		assert.equal(403, p:release_secret({}, { pcrs = {} }).status)
	end)
end)
