--- Metrics of sealed snapshots, on nodes that write them.

local needs = require("kms.base.needs")

local M = {}

-- Of anchors on chain.
local function declare_anchors(set, anchors)
	set:read("counter", "kms_snapshot_anchors_total", "Anchors on chain by how sending them ended.",
		{ { "result", { "ok", "failed" } } }, function(put)
			put(anchors.counts.ok, "ok")
			put(anchors.counts.failed, "failed")
		end)
	set:read("gauge", "kms_snapshot_anchor_age_seconds", "Age of the manifest that this node anchored last, as the chain "
		.. "shows it; absent while there is none.", nil, function(put)
			local age_s = anchors:age_s()
			if age_s then put(age_s) end
		end)
end

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps snapshots (kms.node.snapshots; nil: the node writes none)
function M.declare(set, deps)
	local snapshots = needs.take(deps, "", "snapshots").snapshots
	if not snapshots then return end
	local keeper, restore = snapshots.keeper, snapshots.restore
	if snapshots.anchors then declare_anchors(set, snapshots.anchors) end
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
