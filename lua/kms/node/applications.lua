--- Adds the parts of the node that serve applications: who they are, what they may do, and the two envelopes that
-- carry their operations.

local app_routes = require("kms.routes.app")
local authenticate = require("kms.auth.authenticate")
local authorize = require("kms.auth.authorize")
local native = require("kms_native")
local nonces = require("kms.auth.nonces")
local operations = require("kms.routes.operations")
local remembered = require("kms.auth.remembered")
local session_routes = require("kms.routes.session")
local value_limit = require("kms.sync.value_limit")

local M = {}

local SECOND_MS = 1000
local SESSION_BYTES = 1024 -- KMS_SESSION_BYTES: what a session holds at most, the larger part in guarded memory
local SESSIONS_SHARE = 4 -- of guarded memory, the fourth part

-- As many sessions as the configuration allows and guarded memory has room for.
local function new_sessions(parts)
	local config, wanted = parts.config, parts.config.MAX_SESSIONS
	local room = (native.guarded()) // SESSIONS_SHARE // SESSION_BYTES
	if room < wanted then
		parts.log:warn("guarded memory has room for fewer sessions", { MAX_SESSIONS = wanted, room = room })
	end
	return assert(native.sessions({
		max = math.min(wanted, room), per_wallet = config.SESSIONS_PER_WALLET, ttl_s = config.SESSION_TTL_SECONDS,
	}))
end

--- Adds nonces, remembered, authorizer, authenticator, sessions.
function M.add_authentication(parts)
	local config = parts.config
	parts.nonces = nonces.new({ native = parts.native_nonces, mono_ms = parts.mono_ms })
	parts.remembered = remembered.new({ path = config.DATA_DIR .. "/authorised-wallets", log = parts.log })
	parts.authorizer = authorize.new({
		chain = parts.chain, ttl_ms = config.REGISTRY_CACHE_TTL_SECONDS * SECOND_MS, log = parts.log,
		remembered = parts.remembered, is_member = function(wallet) return parts.peers:peer(wallet) ~= nil end,
	})
	parts.authenticator = authenticate.new({ service = parts.service, authorizer = parts.authorizer, config = config })
	parts.sessions = new_sessions(parts)
end

local function add_operations(parts)
	local allows_partial = parts.config.ALLOW_PARTIAL_REPLICATION
	local function refuse_value(opened)
		if allows_partial then return nil end
		local _, size = opened:numbers()
		return value_limit.refusal(parts.peers, #opened:key(), size)
	end
	parts.operations = operations.new({
		service = parts.service, tee = parts.tee, gateway = parts.gateway, readiness = parts.readiness, log = parts.log,
		config = parts.config, on_change = function() parts.early_push:changed() end, copies = parts.copies,
		refuse_value = refuse_value, clock_check = parts.clock_check, audit = parts.audit,
	})
end

--- Adds operations, app_routes, session_routes.
-- @param parts of kms.node.assemble, with what add_authentication and kms.node.peer_routes add; session_routes finds
--   its routes and dispatcher when they are called
function M.add(parts)
	add_operations(parts)
	parts.app_routes = app_routes.new({
		service = parts.service, tee = parts.tee, authenticator = parts.authenticator, nonces = parts.nonces,
		operations = parts.operations, mono_ms = parts.mono_ms, wall_ms = parts.wall_ms, config = parts.config,
	})
	parts.session_routes = session_routes.new({
		service = parts.service, sessions = parts.sessions, tee = parts.tee, authenticator = parts.authenticator,
		authorizer = parts.authorizer, nonces = parts.nonces, operations = parts.operations, mono_ms = parts.mono_ms,
		wall_ms = parts.wall_ms, config = parts.config,
		admit = function(inbound) return parts.routes:admit_operation(inbound) end,
		note = function(...) parts.dispatcher:note(...) end, members = parts.members,
	})
end

return M
