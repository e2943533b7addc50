--- Metrics of the node's connections and of the services it calls: nonces, channels, chain, TEE.

local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local QUEUES = { "known", "unknown" }
local STATUSES = { "400", "403", "408", "413", "414", "417", "429", "431", "501", "503", "505" }
-- Calls of the TEE service, by the last part of their path.
local TEE_CALLS = {
	"sign", "sign_tx", "encrypt", "decrypt", "random", "address", "public_key", "attestation", "put", "get", "list",
	"delete",
}

local function declare_connections(set, server)
	set:read("gauge", "kms_connections", "Open connections.", nil, function(put) put((server:counts())) end)
	set:read("gauge", "kms_requests_running", "Requests that are being served.", nil, function(put)
		put((select(2, server:counts())))
	end)
	set:read("counter", "kms_connections_accepted_total", "Connections accepted.", nil, function(put)
		put(server:totals().accepted)
	end)
	set:read("counter", "kms_http_refused_total", "Requests refused before their head was complete, by HTTP status.",
		{ { "status", STATUSES } }, function(put)
			for status, count in pairs(server:totals().refused) do put(count, tostring(status)) end
		end)
	set:read("counter", "kms_handler_errors_total", "Requests whose handler threw an error.", nil, function(put)
		put(server:totals().broken)
	end)
	set:read("gauge", "kms_body_bytes", "Memory of request bodies in flight.", nil, function(put)
		put(native.http_body_in_flight())
	end)
	set:read("gauge", "kms_line_bytes", "Memory of long request lines in flight.", nil, function(put)
		put(native.http_lines_in_flight())
	end)
	set:read("gauge", "kms_answer_bytes", "Memory of replies that wait for their clients.", nil, function(put)
		put(server.held)
	end)
end

local function declare_secrets(set, deps)
	set:read("counter", "kms_nonces_issued_total", "Nonces issued.", nil, function(put) put(deps.nonces:issued()) end)
	set:read("gauge", "kms_nonces_out", "Nonces issued within their lifetime, used or not.", nil, function(put)
		put(deps.nonces:out())
	end)
	set:read("gauge", "kms_sessions", "Open sessions, of applications and of members.",
		{ { "kind", { "app", "peer" } } }, function(put)
			local apps, peers = deps.sessions:counts()
			put(apps, "app")
			put(peers, "peer")
		end)
	set:read("gauge", "kms_channels", "Channel keys kept.", nil, function(put) put(deps.channels:count()) end)
	set:read("gauge", "kms_guarded_memory_bytes", "Guarded memory, all of it and what is used.",
		{ { "part", { "size", "used" } } }, function(put)
			local size, used = native.guarded()
			put(size, "size")
			put(used, "used")
		end)
end

-- Seconds since the chain's head, on this node's clock.
local function put_head_age(put, deps)
	local head = deps.chain:head()
	if head and head.time_ms then put(math.max(0, deps.wall_ms() - head.time_ms) / 1000) end
end

local function declare_chain(set, deps)
	set:read("counter", "kms_chain_calls_total", "Calls of RPC servers.", nil, function(put)
		put((deps.chain:counts()))
	end)
	set:read("counter", "kms_chain_failures_total", "Requests that an RPC server did not answer.", nil, function(put)
		put((select(2, deps.chain:counts())))
	end)
	set:read("gauge", "kms_chain_unconfirmed", "Whether the newest block is read without CHAIN_CONFIRMATIONS.", nil,
		function(put) put(deps.chain:describe().unconfirmed and 1 or 0) end)
	set:read("gauge", "kms_chain_head_age_seconds", "Age of the newest block at the last tick.", nil, function(put)
		put_head_age(put, deps)
	end)
	set:read("gauge", "kms_chain_view_age_seconds", "Age of the view that this node serves by.", nil, function(put)
		local age_ms = deps.readiness:view_age_ms()
		if age_ms then put(age_ms / 1000) end
	end)
	local function declare(kind, name, help, member)
		set:read(kind, name, help, { { "lane", QUEUES } }, function(put)
			for queue, counts in pairs(deps.authorizer:queues()) do put(counts[member], queue) end
		end)
	end
	declare("counter", "kms_registry_lookups_total", "Look-ups of wallets, by whether they were known.", "entered")
	declare("counter", "kms_registry_lookups_waited_total", "Look-ups that had to wait.", "waited")
	declare("counter", "kms_registry_lookups_refused_total", "Look-ups refused because too many waited.", "refused")
	declare("gauge", "kms_registry_lookups_waiting", "Look-ups that wait.", "waiting")
end

-- "POST /v1/eth/sign-tx" as "sign_tx".
local function call_name(call)
	return (call:match("([^/]*)$"):gsub("%-", "_"))
end

local function declare_tee(set, tee)
	local function declare(name, help, member)
		set:read("counter", name, help, { { "call", TEE_CALLS } }, function(put)
			for _, call in ipairs(TEE_CALLS) do put(0, call) end
			local service = tee.calls -- only a TEE outside this process has it
			for call, counts in pairs(service and service.counts or {}) do put(counts[member], call_name(call)) end
		end)
	end
	declare("kms_tee_calls_total", "Calls of the TEE service.", "calls")
	declare("kms_tee_failures_total", "Calls that the TEE service failed.", "failures")
end

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps server (kms.http.server), nonces (kms.auth.nonces), channels (native), chain, readiness, authorizer
--   (kms.auth.authorize), tee, wall_ms
function M.declare(set, deps)
	deps = needs.take(deps, "server nonces sessions channels chain readiness authorizer tee wall_ms")
	declare_connections(set, deps.server)
	declare_secrets(set, deps)
	declare_chain(set, deps)
	declare_tee(set, deps.tee)
end

return M
