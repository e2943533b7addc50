--- What the status page shows, as one JSON object: GET /status, the members with their bans, sizes, limits, and the
-- counters from which the page makes rates. Nothing in it is a secret; names of applications are left out.

local cjson = require("cjson")
local json = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Facts = {}
Facts.__index = Facts

local LARGEST = 50 -- namespaces whose sizes are shown
local LIMITS = {
	connections = "MAX_CONNECTIONS", namespaces = "MAX_NAMESPACES", sessions = "MAX_SESSIONS",
	store_bytes = "MAX_TOTAL_STORAGE_BYTES",
}

-- The requests so far: by route, refused ones by code, and the buckets of all durations.
local function requests_of(set)
	local by_route, by_code = {}, {}
	for _, series in ipairs(set:family("kms_requests_total"):series()) do
		local route, _, code = table.unpack(series.labels)
		by_route[route] = (by_route[route] or 0) + series.value
		if code ~= "ok" then by_code[code] = (by_code[code] or 0) + series.value end
	end
	local family = set:family("kms_request_duration_seconds")
	local durations = { bounds_s = family.bounds, counts = {} }
	for i = 1, #family.bounds + 1 do durations.counts[i] = 0 end
	for _, series in ipairs(family:series()) do
		for i, count in ipairs(series.buckets) do durations.counts[i] = durations.counts[i] + count end
	end
	return { by_route = by_route, by_code = by_code, durations = durations }
end

local function custodians_of(self)
	local recovery = self.recovery
	if not recovery.sets then return cjson.null end
	local list = {}
	for x, custodian in ipairs(recovery.sets[1].custodians) do
		list[x] = { name = custodian.name, checked_at_ms = recovery.rehearsals.times[x] or cjson.null }
	end
	return { threshold = recovery.sets[1].threshold, list = list, waiting = recovery.waiting:status() or cjson.null }
end

local function sessions_of(self)
	local apps, peers = self.sessions:counts()
	return { applications = apps, members = peers }
end

local function guarded()
	local size, used = native.guarded()
	return { size = size, used = used }
end

local function age_ms(since, now)
	return since and math.max(0, now - since) or cjson.null
end

--- Everything, as a new table for kms.base.json.
function Facts:read()
	local config, limits, stats, head = self.config, {}, self.store:stats(), self.chain:head()
	for name, key in pairs(LIMITS) do limits[name] = config[key] end
	local connections, running = self.server:counts()
	local now = self.wall_ms()
	return {
		now_ms = now, version = native.version, up_ms = self.mono_ms() - self.began_ms, draining = self.is_stopping(),
		tee = config.TEE, chain_kind = config.CHAIN, in_enclave = config.IN_ENCLAVE,
		status = self.status:page(), members = self.members(), custodians = custodians_of(self),
		store = {
			total_bytes = stats.total_bytes, tombstones = stats.tombstones, stubs = stats.stubs,
			evictions = stats.evictions, largest = json.list(self.store:largest(LARGEST)),
		},
		limits = limits, sessions = sessions_of(self), guarded = guarded(),
		chain = {
			head_age_ms = age_ms(head and head.time_ms, now), view_age_ms = self.readiness:view_age_ms() or cjson.null,
		},
		connections = connections, running = running, requests = requests_of(self.metrics),
	}
end

--- @param deps status (kms.routes.status), members (function -> list of kms.admin.commands' peers), metrics
-- (kms.admin.metrics), recovery (kms.node.recovery), store, sessions, chain, readiness, server, config, mono_ms,
-- wall_ms, is_stopping (function)
function M.new(deps)
	local self = needs.take(deps,
		"status members metrics recovery store sessions chain readiness server config mono_ms wall_ms is_stopping")
	self.began_ms = self.mono_ms()
	return setmetatable(self, Facts)
end

return M
