--- The routes that need no authentication: overview, health, readiness, status, nonces, nodes.

local cjson = require("cjson")
local err = require("kms.base.err")
local chain_api = require("kms.chain")
local native = require("kms_native")

local M = {}

local JSON = { ["Content-Type"] = "application/json" }

local function json(value)
	return { status = 200, headers = JSON, body = cjson.encode(value) }
end

local function overview(node)
	return json({ service = "nova-kms", version = native.version, endpoints = node.operator.routes:endpoints() })
end

local HEALTHY = json({ status = "healthy" })

local function health()
	return HEALTHY
end

-- App ids are unsigned 64-bit: as a JSON number where Lua's integers hold it, else as text.
local function id_number(text)
	return math.tointeger(tonumber(text)) or text
end

local function ready(node)
	if node.readiness.ready then return json({ ready = true }) end
	return err.reply("ERR_NOT_READY", node.readiness.reason)
end

local function nonce(node, request)
	local mono_ms = node.mono_ms()
	local ok, wait_s = node:within_address_limit(node.nonce_limiter, request, mono_ms)
	if not ok then return err.reply("ERR_RATE", "too many nonces for this address", { ["Retry-After"] = wait_s }) end
	local text, message, code = node.nonces:issue(mono_ms // 1000)
	if not text then return err.reply(code, message, { ["Retry-After"] = 1 }) end
	return { status = 200, headers = JSON, body = '{"nonce":"' .. text .. '"}' }
end

local function node_status(node)
	local readiness, secrets = node.readiness, node.secrets
	return {
		tee_wallet = node.tee.address, tee_pubkey = native.hex_encode(node.tee.public_der),
		node_url = node.url, is_operator = readiness.is_operator, service_available = readiness.ready,
		service_unavailable_reason = readiness.reason,
		master_secret = { state = secrets.state, synced_from = secrets.from or cjson.null },
		master_secret_initialized = secrets.current ~= nil,
		operator_secret = node.config.ALLOW_OPERATOR_SECRET, store_complete = readiness:is_complete(),
		peer_address_check = node.egress:describe(),
	}
end

--- What GET /status says.
function M.status(node)
	local stats = node.store:stats()
	return {
		node = node_status(node),
		cluster = {
			kms_app_id = id_number(node.config.KMS_APP_ID), registry_address = node.config.KMS_REGISTRY_ADDRESS or cjson.null,
			total_instances = #node.peers:list(),
		},
		data_store = {
			namespaces = stats.namespaces, total_keys = stats.live_keys, total_bytes = stats.live_bytes,
		},
		sync = node.pusher:status(),
		policy = node.operator:status(),
	}
end

local function status(node)
	return json(M.status(node))
end

-- What the last call to a member showed; nothing is called for a request.
local function connection(node, wallet)
	local peer = node.peers:peer(wallet)
	local probed = peer and peer.probed_ms
	local answered = probed and peer.probe_status ~= nil
	return {
		in_peer_cache = true, cached_status = node.peers:state(wallet),
		status_endpoint_reachable = probed and answered or cjson.null,
		status_endpoint_http_code = answered and peer.probe_status or cjson.null,
		status_probe_ms = answered and peer.probe_ms or cjson.null, status_checked_at_ms = probed or cjson.null,
	}
end

local function operator(node, instance)
	return {
		operator = instance.wallet,
		instance = {
			instance_id = id_number(instance.id), app_id = id_number(instance.app_id),
			version_id = id_number(instance.version_id), operator = instance.operator,
			instance_url = instance.url, tee_wallet = instance.wallet, zk_verified = instance.zk_verified,
			instance_status = {
				value = instance.status, name = chain_api.instance_status_name(instance.status),
			},
			registered_at = instance.registered_at,
		},
		connection = connection(node, instance.wallet),
	}
end

local function nodes(node)
	local operators = {}
	for i, instance in ipairs(node.peers:list()) do operators[i] = cjson.encode(operator(node, instance)) end
	-- An empty Lua table does not say that it is a list.
	return {
		status = 200, headers = JSON,
		body = ('{"count":%d,"operators":[%s]}'):format(#operators, table.concat(operators, ",")),
	}
end

--- The routes of this module.
function M.routes()
	return {
		{ name = "overview", method = "GET", path = "/", handler = overview },
		{ name = "health", method = "GET", path = "/health", handler = health, unlimited = true },
		{ name = "ready", method = "GET", path = "/ready", handler = ready, unlimited = true },
		{ name = "status", method = "GET", path = "/status", handler = status },
		{ name = "nonce", method = "GET", path = "/nonce", handler = nonce },
		{ name = "nodes", method = "GET", path = "/nodes", handler = nodes },
	}
end

return M
