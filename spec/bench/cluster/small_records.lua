--- Many small records for the first node of a cluster, as a member gives them: faster than applications write.

local crypto = require("spec.support.crypto")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local M = {}

local IN_A_DELTA = 2000

-- A member that gives records and leaves again.
local function member(cluster, client)
	local peer = peers.new(client.node, "a member that fills")
	local id
	cluster:owner(function(registry)
		id = registry:register({ {
			app_id = registry.kms_app_id, wallet = peer.wallet, tee_pubkey = peer.identity.der, url = "http://127.0.0.1:1",
		} })[1]
	end)
	wait.until_true("the node to know the member", function() return peer:ask_secret().status ~= 403 end)
	return peer:join(), id
end

--- Fills the first node.
function M.fill(cluster, clients, count, bytes)
	local peer, id = member(cluster, clients[1])
	local app_id, number = tostring(clients.app_id), 0
	while number < count do
		local records = {}
		for i = 1, math.min(IN_A_DELTA, count - number) do
			number = number + 1
			records[i] = peer:record(app_id, ("filled/%07d"):format(number), crypto.random(bytes))
		end
		local response = peer:delta({ [app_id] = records })
		if response.status ~= 200 or response.inner.rejected > 0 then error("fill: " .. response.body, 0) end
	end
	peer:close()
	cluster:owner(function(registry) registry:stop_instance(id) end)
	local function only_nodes() return cluster:status(1).cluster.total_instances == #cluster.net.nodes end
	wait.until_true("the member to leave", only_nodes)
end

return M
