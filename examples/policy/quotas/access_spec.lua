local testing = require("kms.policy.testing")

local function count_allowed(p, app_id, attempts)
	local allowed, last = 0, nil
	for _ = 1, attempts do
		local verdict = p:derive({ app_id = app_id })
		if verdict == true then allowed = allowed + 1 else last = verdict end
	end
	return allowed, last
end

describe("quotas", function()
	it("limits each application by the second", function()
		local p = testing.open()
		local allowed, refusal = count_allowed(p, "7", 30)
		assert.equal(20, allowed)
		assert.same({ 429, 1 }, { refusal.status, refusal.retry_after })
		assert.equal(20, (count_allowed(p, "8", 30)))
		p:advance(1)
		assert.equal(10, (count_allowed(p, "7", 30)))
	end)

	it("limits each application by the day", function()
		local p = testing.open()
		local allowed, reason = 0, nil
		for _ = 1, 5200 do
			local more, refusal = count_allowed(p, "7", 20)
			allowed, reason = allowed + more, refusal and refusal.reason
			p:advance(2)
		end
		-- 100 000 at once, and what came in during these hours.
		assert.is_true(allowed > 100000 and allowed < 112100, allowed)
		assert.equal(nil, reason)
		for _ = 1, 3000 do
			local _, refusal = count_allowed(p, "7", 20)
			reason = reason or refusal and refusal.reason
			p:advance(2)
		end
		assert.equal("more than 100000 requests a day", reason)
	end)
end)
