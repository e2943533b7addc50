--- Metrics of sealed snapshots, on nodes that write them.

local needs = require("kms.base.needs")

local M = {}

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps snapshots (kms.node.snapshots; nil: the node writes none)
function M.declare(set, deps)
	local snapshots = needs.take(deps, "", "snapshots").snapshots
	if not snapshots then return end
	local keeper, restore = snapshots.keeper, snapshots.restore
	set:read("counter", "kms_snapshot_saves_total", "Sealed snapshots by how writing them ended.",
		{ { "result", { "ok", "failed" } } }, function(put)
			put(keeper.counts.ok, "ok")
			put(keeper.counts.failed, "failed")
		end)
	set:read("counter", "kms_snapshot_bytes_total", "Bytes of files with records that this node wrote.", nil,
		function(put) put(keeper.counts.bytes) end)
	set:read("gauge", "kms_snapshot_unsaved_seconds", "Time since the last sealed snapshot, while the store holds what it "
		.. "does not; 0 otherwise.", nil, function(put) put(keeper:unsaved_ms() / 1000) end)
	set:read("gauge", "kms_snapshot_restored_records", "Records that this process restored from sealed snapshots.", nil,
		function(put)
			local restored = restore:status().restored
			put(restored and restored.merged or 0)
		end)
	set:read("gauge", "kms_snapshot_not_restored", "1 while sealed snapshots wait for the operator or for their place.",
		nil, function(put) put(restore:status().failed and 1 or 0) end)
end

return M
