--- The loss of all nodes of a devnet, and fresh nodes in their place. Functions yield; they throw a text where a step
-- fails.

local files = require("kms.base.files")
local parallel = require("kms.async.parallel")

local M = {}

--- Kills all nodes at once (SIGKILL), and deletes their files: seeds, sealed secrets, logs.
function M.strike(net)
	parallel.map(net.nodes, #net.nodes, function(node) node:kill() end)
	for _, node in ipairs(net.nodes) do files.remove_dir(node.dir) end
end

--- Starts fresh nodes with new wallets where the lost ones were: on chain the lost instances are stopped and the new
-- ones registered, as an operator does. It does not wait until they serve: without custodians they never do.
function M.replace(net)
	local lost = {}
	for i, node in ipairs(net.nodes) do
		lost[i] = node.instance_id
		local ok, message = node:make_identity()
		if not ok then error(message, 0) end
	end
	for _, id in ipairs(lost) do net.registry:stop_instance(id) end
	net:register_nodes()
	net:start_nodes()
end

return M
