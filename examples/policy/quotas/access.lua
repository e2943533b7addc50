-- Two quotas for each application: 10 requests a second with bursts of 20, and 100 000 a day.
local DAY_S = 24 * 3600

return {
	request = function(r)
		if not kms.limit("second " .. r.app_id, 10, 20) then
			return { status = 429, reason = "more than 10 requests a second", retry_after = 1 }
		end
		if not kms.limit("day " .. r.app_id, 100000 / DAY_S, 100000) then
			kms.count("daily_quota_reached", { app = r.app_id })
			return { status = 429, reason = "more than 100000 requests a day", retry_after = 60 }
		end
	end,
}
