--- Metrics of limits, so that an alert or a chart can set use against them without knowing the configuration.

local needs = require("kms.base.needs")

local M = {}

-- What is limited, by the name of the metric of its use, and the setting.
local SETTINGS = {
	store_total_bytes = "MAX_TOTAL_STORAGE_BYTES", store_namespaces = "MAX_NAMESPACES", connections = "MAX_CONNECTIONS",
	sessions = "MAX_SESSIONS", channels = "MAX_CHANNELS", body_bytes = "MAX_BODY_MEMORY_BYTES",
	answer_bytes = "MAX_BODY_MEMORY_BYTES",
}

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps config (the settings)
function M.declare(set, deps)
	local config = needs.take(deps, "config").config
	local names = {}
	for name in pairs(SETTINGS) do names[#names + 1] = name end
	table.sort(names)
	set:read("gauge", "kms_limit", "The limit of kms_<of>.", { { "of", names } }, function(put)
		for _, name in ipairs(names) do put(config[SETTINGS[name]], name) end
	end)
end

return M
