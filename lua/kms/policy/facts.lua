--- The facts that hooks get (kms.policy.hooks lists them): about requests, peers and this node. They hold names
-- and sizes, never a key, a value or a body.

local features = require("kms.peers.features")
local native = require("kms_native")

local M = {}

--- Facts of a request that is authenticated and authorized.
-- @param inbound kms.http.inbound
-- @param operation "derive", "get", "list", "put", "delete" or "session": as kms.policy.gateway's request
-- @param caller kms.auth.authenticate
function M.request(inbound, operation, caller, now_ms)
	return {
		route = operation, app_id = caller.app_id, version_id = caller.version_id, instance_id = caller.instance_id,
		wallet = caller.wallet, remote = inbound.address, now = now_ms,
	}
end

--- The same, with what its body asks for.
-- @param opened the opened body (native request)
function M.opened(inbound, operation, caller, opened, now_ms)
	local facts = M.request(inbound, operation, caller, now_ms)
	local length, size, ttl_ms = opened:numbers()
	if operation == "derive" then
		facts.path, facts.context, facts.length = opened:path(), opened:context() or "", length
	else
		facts.key = opened:key()
		if operation == "put" then facts.size, facts.ttl_ms = size, ttl_ms end
	end
	return facts
end

-- The features a peer announced that this node knows; any other name is text of the peer's choice.
local function known_features(peer)
	local known = {}
	for _, name in ipairs(features) do
		if peer.features[name] then known[name] = true end
	end
	return known
end

--- Facts of a peer (kms.peers).
-- @param instance the peer's registration; nil: as last read
function M.peer(peer, instance)
	instance = instance or peer.instance
	return {
		wallet = peer.wallet, url = peer.url, app_id = instance.app_id, version_id = instance.version_id,
		instance_id = instance.id, operator = instance.operator, zk_verified = instance.zk_verified,
		rtt_ms = peer.probe_ms, failures = peer.failures, last_ok_ms = peer.last_ok_ms, features = known_features(peer),
	}
end

--- Facts of peers, in the same order.
function M.peers(peers)
	local list = {}
	for i, peer in ipairs(peers) do list[i] = M.peer(peer) end
	return list
end

--- Facts of this node, which anyone may see.
-- @param node wallet, url, ready, app_id, nodes (how many members there are), policy (hash), now (Unix ms)
function M.node(node)
	return {
		service = "nova-kms", version = native.version, wallet = node.wallet, url = node.url, ready = node.ready,
		app_id = node.app_id, nodes = node.nodes, policy = node.policy, now = node.now,
	}
end

return M
