--- Waits for the sealed snapshots of running nodes.

local wait = require("spec.support.wait")

local M = {}

local function is_saved(snapshot)
	return snapshot.saved_at_ms and snapshot.unsaved_s == 0 and snapshot.state == "ok", snapshot.state
end

--- Until a node has saved all that it holds.
function M.wait(node)
	wait.until_true("a snapshot of everything", function() return is_saved(node:status().snapshot) end)
end

--- Until nodes 1 to `count` of a cluster have.
-- @param seconds  deadline of each, or nil: the usual one
function M.wait_all(cluster, count, seconds)
	for i = 1, count do
		wait.until_true(("node %d to save"):format(i), function() return is_saved(cluster:status(i).snapshot) end, seconds)
	end
end

return M
