--- What hooks are told (the lists are kms.policy.hooks's): of requests, peers, records and this node.
-- Names and sizes; never a key, a value or a body.

local client_address = require("kms.http.client_address")
local features = require("kms.peers.features")
local native = require("kms_native")

local M = {}

--- A request that is authenticated and authorised.
-- @param kind "derive", "get", "list", "put" or "delete"; @param caller of kms.auth.authenticate
function M.request(node, request, kind, caller)
	local forwarded = node.trusted and request:header("x-forwarded-for")
	return {
		route = kind, app_id = caller.app_id, version_id = caller.version_id, instance_id = caller.instance_id,
		wallet = caller.wallet, remote = client_address.resolve(request.remote, forwarded, node.trusted),
		now = node.wall_ms(),
	}
end

--- The same with what its opened body asks for (kms.request).
function M.opened(node, request, kind, caller, opened)
	local facts = M.request(node, request, kind, caller)
	local length, size, ttl_ms = opened:numbers()
	if kind == "derive" then
		facts.path, facts.context, facts.length = opened:path(), opened:context() or "", length
	else
		facts.key = opened:key()
		if kind == "put" then facts.size, facts.ttl_ms = size, ttl_ms end
	end
	return facts
end

-- Of what a peer announced, what means something here: the rest is text of its own choice.
local function known_features(peer)
	local known = {}
	for _, name in ipairs(features) do
		if peer.features[name] then known[name] = true end
	end
	return known
end

--- A peer (kms.peers).
-- @param instance what the chain says of it; nil: as last read
function M.peer(peer, instance)
	instance = instance or peer.instance
	return {
		wallet = peer.wallet, url = peer.url, app_id = instance.app_id, version_id = instance.version_id,
		instance_id = instance.id, operator = instance.operator, zk_verified = instance.zk_verified,
		rtt_ms = peer.probe_ms, failures = peer.failures, last_ok_ms = peer.last_ok_ms, features = known_features(peer),
	}
end

--- Peers, in the same order.
function M.peers(peers)
	local list = {}
	for i, peer in ipairs(peers) do list[i] = M.peer(peer) end
	return list
end

--- This node, as everybody may see it.
function M.node(node)
	return {
		service = "nova-kms", version = native.version, wallet = node.tee.address, url = node.url,
		ready = node.readiness.ready, app_id = node.config.KMS_APP_ID, nodes = #node.peers:list(),
		policy = node.policy:hash(), now = node.wall_ms(),
	}
end

return M
