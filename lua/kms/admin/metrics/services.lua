--- What is read of that which a node talks to and is talked to by: connections, nonces, channels,
-- chain, TEE.

local native = require("kms_native")

local M = {}

local QUEUES = { "known", "unknown" }
local STATUSES = { "400", "403", "408", "413", "414", "417", "429", "431", "501", "503", "505" }
-- Calls of the TEE service by the last part of their path.
local TEE_CALLS = {
	"sign", "sign_tx", "encrypt", "decrypt", "random", "address", "public_key", "attestation",
}

local function connections(set, node)
	local server = node.server
	set:read("gauge", "kms_connections", "Open connections.", nil, function(put) put((server:counts())) end)
	set:read("gauge", "kms_requests_running", "Requests that are being answered.", nil, function(put)
		put((select(2, server:counts())))
	end)
	set:read("counter", "kms_connections_accepted_total", "Connections accepted.", nil, function(put)
		put(server:totals().accepted)
	end)
	set:read("counter", "kms_http_refused_total", "What was refused before it was a request, by HTTP status.",
		{ { "status", STATUSES } }, function(put)
			for status, count in pairs(server:totals().refused) do put(count, tostring(status)) end
		end)
	set:read("counter", "kms_handler_errors_total", "Requests that broke a handler down.", nil, function(put)
		put(server:totals().broken)
	end)
	set:read("gauge", "kms_body_bytes", "Memory of request bodies in flight.", nil, function(put)
		put(native.http_body_in_flight())
	end)
	set:read("gauge", "kms_answer_bytes", "Memory of answers that wait for their clients.", nil, function(put)
		put(server.held)
	end)
end

local function secrets(set, node)
	set:read("counter", "kms_nonces_issued_total", "Nonces issued.", nil, function(put) put(node.nonces:issued()) end)
	set:read("gauge", "kms_nonces_out", "Nonces issued within their lifetime, used or not.", nil, function(put)
		put(node.nonces:out(node.mono_ms() // 1000))
	end)
	set:read("gauge", "kms_channels", "Channel keys kept.", nil, function(put) put(node.channels:count()) end)
	set:read("gauge", "kms_guarded_memory_bytes", "Guarded memory, all of it and what is used.",
		{ { "part", { "size", "used" } } }, function(put)
			local size, used = native.guarded()
			put(size, "size")
			put(used, "used")
		end)
end

-- Seconds since a chain's newest block, as this node's clock has it.
local function head_age(put, node)
	local head = node.chain:head()
	if head and head.time_ms then put(math.max(0, node.wall_ms() - head.time_ms) / 1000) end
end

local function chain(set, node)
	set:read("counter", "kms_chain_calls_total", "Calls of RPC servers.", nil, function(put)
		put((node.chain:counts()))
	end)
	set:read("counter", "kms_chain_failures_total", "Questions that an RPC server did not answer.", nil, function(put)
		put((select(2, node.chain:counts())))
	end)
	set:read("gauge", "kms_chain_head_age_seconds", "Age of the newest block at the last tick.", nil, function(put)
		head_age(put, node)
	end)
	set:read("gauge", "kms_chain_view_age_seconds", "Age of the view that this node serves by.", nil, function(put)
		local view_ms = node.readiness.view_ms
		if view_ms then put(math.max(0, node.mono_ms() - view_ms) / 1000) end
	end)
	local function queues(kind, name, help, member)
		set:read(kind, name, help, { { "lane", QUEUES } }, function(put)
			for queue, counts in pairs(node.registry:queues()) do put(counts[member], queue) end
		end)
	end
	queues("counter", "kms_registry_lookups_total", "Look-ups of wallets, by whether they were known.", "entered")
	queues("counter", "kms_registry_lookups_waited_total", "Look-ups that had to wait for their turn.", "waited")
	queues("counter", "kms_registry_lookups_refused_total", "Look-ups that were refused: too many waited.", "refused")
	queues("gauge", "kms_registry_lookups_waiting", "Look-ups that wait.", "waiting")
end

-- "POST /v1/eth/sign-tx" as "sign_tx".
local function call_name(call)
	return (call:match("([^/]*)$"):gsub("%-", "_"))
end

local function tee(set, node)
	local function calls(name, help, member)
		set:read("counter", name, help, { { "call", TEE_CALLS } }, function(put)
			for _, call in ipairs(TEE_CALLS) do put(0, call) end
			local service = node.tee.calls -- only a TEE outside this process has it
			for call, counts in pairs(service and service.counts or {}) do put(counts[member], call_name(call)) end
		end)
	end
	calls("kms_tee_calls_total", "Calls of the TEE service.", "calls")
	calls("kms_tee_failures_total", "Calls that the TEE service failed.", "failures")
end

--- Declares all of them.
-- @param set of kms.admin.metrics; @param node of kms.node, whole
function M.declare(set, node)
	connections(set, node)
	secrets(set, node)
	chain(set, node)
	tee(set, node)
end

return M
