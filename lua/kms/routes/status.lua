--- What GET /status shows; the control socket shows the same and more (kms.admin.commands).

local cjson = require("cjson")
local json = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Status = {}
Status.__index = Status

--- An id as JSON shows it: ids are unsigned 64-bit, a number where Lua's integers hold it, else text.
function M.id_number(text)
	return math.tointeger(tonumber(text)) or text
end

local function node_part(self)
	local readiness, secrets, key = self.readiness, self.secrets, self.tee.public_der
	local waits_for, alone_in_s = readiness.completeness:waits_for()
	return {
		tee_wallet = self.tee.address or cjson.null, tee_pubkey = key and native.hex_encode(key) or cjson.null,
		node_url = readiness.url, is_operator = readiness.is_operator, service_available = readiness.ready,
		service_unavailable_reason = readiness.reason,
		master_secret = { state = secrets.state, synced_from = secrets.from or cjson.null },
		master_secret_initialized = secrets.current ~= nil,
		operator_secret = self.config.ALLOW_OPERATOR_SECRET, store_complete = readiness:is_complete(),
		store_alone = readiness:is_alone(), store_waits_for = waits_for and json.list(waits_for) or nil,
		store_alone_in_s = waits_for and (alone_in_s or cjson.null) or nil,
		peer_address_check = self.outbound:describe(), recovery_set = self.recovery_set or cjson.null,
	}
end

local function cluster_part(self)
	return {
		kms_app_id = M.id_number(self.config.KMS_APP_ID),
		registry_address = self.config.KMS_REGISTRY_ADDRESS or cjson.null, total_instances = #self.peers:list(),
	}
end

local function sync_part(self)
	local part = self.pusher:status()
	for wallet, repair in pairs(self.repair:status()) do
		if part.peers[wallet] then part.peers[wallet].repair = repair end
	end
	return part
end

local function clock_part(self)
	local clock = self.clock_check:status()
	clock.writes_refused = clock.writes_refused or cjson.null
	return clock
end

--- The page, as a new table.
function Status:page()
	local stats = self.store:stats()
	return {
		node = node_part(self), cluster = cluster_part(self),
		data_store = { namespaces = stats.namespaces, total_keys = stats.live_keys, total_bytes = stats.live_bytes },
		clock = clock_part(self), chain = self.chain:describe(), sync = sync_part(self),
		policy = self.reloader:status(), snapshot = self.snapshots and self.snapshots:status() or { state = "off" },
		audit = self.audit:status(),
	}
end

--- @param deps tee; chain (kms.chain); readiness, secrets (kms.node); peers, outbound (kms.peers); store;
-- pusher, repair (kms.sync); reloader (kms.policy.reloader); clock_check (kms.node.clock_check); config (KMS_APP_ID,
-- KMS_REGISTRY_ADDRESS, ALLOW_OPERATOR_SECRET); audit (kms.audit); optional: snapshots (kms.node.snapshots;
-- nil: none), recovery_set (id of the custodians' set)
function M.new(deps)
	return setmetatable(needs.take(deps,
		"tee chain readiness secrets peers outbound store pusher repair reloader clock_check config audit",
		"snapshots recovery_set"), Status)
end

return M
