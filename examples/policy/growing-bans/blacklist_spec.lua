local testing = require("kms.policy.testing")

local PEER, PARTNER = "0x00000000000000000000000000000000000000a1", "0x00000000000000000000000000000000000000ee"

describe("growing-bans", function()
	it("bans twice as long each time, up to a day", function()
		local p = testing.open()
		local seconds = {}
		for i = 1, 13 do
			local ban = p:event(PEER, "bad_response_signature")
			seconds[i] = ban.seconds
			p:advance(ban.seconds)
		end
		assert.same({ 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 61440, 86400, 86400 }, seconds)
	end)

	it("bans a peer at the second wrong secret", function()
		local p = testing.open()
		assert.is_nil(p:event(PEER, "wrong_master_secret"))
		p:advance(601)
		assert.is_nil(p:event(PEER, "wrong_master_secret"))
		p:advance(600)
		assert.same({ scope = "all", event = "wrong_master_secret", rule = "wrong-secret", seconds = 300 },
			p:event(PEER, "wrong_master_secret"))
	end)

	it("never bans the partner, and ignores events without a rule", function()
		local p = testing.open()
		assert.is_nil(p:event(PARTNER, "bad_response_signature"))
		assert.is_nil(p:event(PEER, "unreachable"))
	end)
end)
