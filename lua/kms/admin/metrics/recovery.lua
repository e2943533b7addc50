--- Metrics of the custodians.

local needs = require("kms.base.needs")

local M = {}

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps sets (kms.recovery.custodians), rehearsals (kms.recovery.rehearsals), wall_ms
function M.declare(set, deps)
	deps = needs.take(deps, "sets rehearsals wall_ms")
	local current, names = deps.sets[1], {}
	for x, custodian in ipairs(current.custodians) do names[x] = custodian.name end
	set:read("gauge", "kms_recovery_set", "The set of custodians in force, always 1.", { { "set", { current.id } } },
		function(put) put(1, current.id) end)
	set:read("gauge", "kms_recovery_threshold", "Custodians that are needed to restore the master secret.", nil,
		function(put) put(current.threshold) end)
	set:read("gauge", "kms_recovery_checked_age_seconds",
		"Time since a custodian last showed that it can open its share; +Inf: it never has.", { { "custodian", names } },
		function(put)
			for x, name in ipairs(names) do
				local time_ms = deps.rehearsals.times[x]
				put(time_ms and math.max(0, deps.wall_ms() - time_ms) / 1000 or math.huge, name)
			end
		end)
end

return M
