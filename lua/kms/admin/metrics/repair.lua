--- Metrics of repair: what comparing with other members found and moved.

local needs = require("kms.base.needs")

local M = {}

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps repair (kms.sync.repair)
function M.declare(set, deps)
	local repair = needs.take(deps, "repair").repair
	local counts = repair.counts
	set:read("counter", "kms_repair_exchanges_total", "Comparisons with members by what they found.",
		{ { "result", { "equal", "different", "failed" } } }, function(put)
			put(counts.equal, "equal")
			put(counts.exchanges - counts.equal, "different")
			put(counts.failures, "failed")
		end)
	set:read("counter", "kms_repair_versions_total", "Versions that repair moved.",
		{ { "direction", { "given", "taken" } } }, function(put)
			put(counts.given, "given")
			put(counts.wanted, "taken")
		end)
	set:read("counter", "kms_repair_bytes_total", "Bytes of messages with versions that this node gave.", nil,
		function(put) put(counts.bytes) end)
	set:read("gauge", "kms_repair_lag_seconds", "Time since a comparison with the member for which it is longest ago "
		.. "found no difference.", nil, function(put)
			local most = 0
			for _, state in pairs(repair:status()) do most = math.max(most, state.lag_s) end
			put(most)
		end)
end

return M
