local blacklist = require("kms.blacklist")

local WALLET, OTHER = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40)

describe("blacklist", function()
	local list

	before_each(function() list = blacklist.new(600000) end)

	it("keeps this node from calling whoever forged an answer, and hears it all the same", function()
		local ban = list:note(WALLET, "bad_response_signature", 1000)
		assert.same({ scope = "calls", until_ms = 601000, event = "bad_response_signature" }, ban)
		assert.truthy(list:calls(WALLET, 600999))
		assert.falsy(list:calls(WALLET, 601000))
		assert.falsy(list:all(WALLET, 1000))
		assert.falsy(list:calls(OTHER, 1000))
	end)

	it("silences only on evidence that the peer alone can have made", function()
		for _, event in ipairs({ "bad_response_signature", "bad_envelope", "invalid_url", "private_address", "bad_hmac",
			"replayed_nonce", "unreachable" }) do
			for _ = 1, 100 do list:note(WALLET, event, 1000) end
		end
		assert.falsy(list:all(WALLET, 1000))
	end)

	it("counts within the rule's time only", function()
		assert.is_nil(list:note(WALLET, "poisoned_records", 0))
		assert.is_nil(list:note(WALLET, "poisoned_records", 1000))
		assert.is_nil(list:note(WALLET, "poisoned_records", 60001)) -- the first is too old by then
		assert.equal("all", list:note(WALLET, "poisoned_records", 61000).scope)
		assert.truthy(list:all(WALLET, 61000))
		assert.truthy(list:calls(WALLET, 61000))
	end)

	it("bans longer each time where the rule grows", function()
		local at = 0
		for _, minutes in ipairs({ 10, 20, 40 }) do
			list:note(WALLET, "wrong_master_secret", at)
			local ban = list:note(WALLET, "wrong_master_secret", at)
			assert.equal(minutes * 60000, ban.until_ms - at)
			at = ban.until_ms
		end
		for _ = 1, 40 do list:note(WALLET, "wrong_master_secret", at) end
		assert.equal(24 * 3600000, list:all(WALLET, at).until_ms - at)
	end)

	it("forgets the oldest of too many wallets", function()
		list:note(WALLET, "bad_response_signature", 0)
		for i = 1, 4096 do list:note(("0x%040x"):format(i), "bad_response_signature", i) end
		assert.falsy(list:calls(WALLET, 1))
		assert.truthy(list:calls(("0x%040x"):format(4096), 4096))
		assert.equal(4096, list.count)
	end)
end)
