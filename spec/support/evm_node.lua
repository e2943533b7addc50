--- A node on a chain of spec.support.chain_server: its start, its registration, and why it does not serve.

local cjson = require("cjson")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local wait = require("spec.support.wait")

local M = {}

--- Starts a node that the chain does not know yet, and does not wait.
-- @param env  overrides of spec.support.node's environment, or nil
-- @return node
function M.start(chain, env)
	local all = {
		CHAIN = "evm", HELIOS_RPC_URL = chain.url, NOVA_APP_REGISTRY_ADDRESS = chain_server.REGISTRY,
		KMS_REGISTRY_ADDRESS = chain_server.KMS,
	}
	for name, value in pairs(env or {}) do all[name] = value end
	return nodes.start({ env = all, nowait = true })
end

--- Registers a node as a member of the KMS application, as soon as it says its wallet and key.
function M.register(chain, node)
	local status = wait.until_true("its identity", function()
		local status = http.get(node.port, "/status") and node:status().node
		-- A TEE service may answer later than the node does.
		return status and status.tee_pubkey ~= cjson.null and status
	end)
	chain:register("49", status.tee_wallet, crypto.unhex(status.tee_pubkey), "http://127.0.0.1:" .. node.port)
end

--- Starts a node, registers it and waits until it serves.
-- @return node
function M.serve(chain, env)
	local node = M.start(chain, env)
	M.register(chain, node)
	node:wait_ready()
	return node
end

--- Waits until GET /status gives a reason for not serving; "ready": until it serves.
function M.wait_reason(node, text)
	wait.until_true("the reason " .. text, function()
		local reason = http.get(node.port, "/status") and (node:status().node.service_unavailable_reason or "ready")
		return reason == text, reason
	end)
end

return M
