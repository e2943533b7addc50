--- What a node needs for its custodians, made of its other parts. Nothing without RECOVERY.

local age_files = require("kms.recovery.age_files")
local custodians = require("kms.recovery.custodians")
local metrics_recovery = require("kms.admin.metrics.recovery")
local needs = require("kms.base.needs")
local rehearsals = require("kms.recovery.rehearsals")
local routes = require("kms.routes.recovery")
local waiting = require("kms.recovery.waiting")

local M = {}

local Recovery = {}
Recovery.__index = Recovery

--- What stands in the node's attestation documents, or nil.
function Recovery:statement()
	return self.sets and { set = self.sets[1].id, key = self.waiting:recipient() } or nil
end

--- The id of the set in force, or nil.
function Recovery:set_id()
	return self.sets and self.sets[1].id or nil
end

--- The custodians' age files, to be kept beside sealed snapshots; yields.
-- @return list of { name, text } | nil, message
function Recovery:files()
	if not self.sets then return {} end
	local made, message = self.age_files:today()
	if not made then return nil, message end
	local list = {}
	for i, share in ipairs(made.shares) do
		list[i] = { name = ("%s-%d.age"):format(self.sets[1].id:gsub("^0x", ""):sub(1, 16), share.x), text = share.file }
	end
	return list
end

--- To be called after each tick of the node.
function Recovery:tick()
	if not self.sets then return end
	self.rehearsals:refresh()
	self.waiting:after_tick(self.parts.readiness:is_verified())
end

--- The routes, for kms.policy.route_table.
function Recovery:routes()
	if not self.sets then return {} end
	return routes.new({
		sets = self.sets, age_files = self.age_files, rehearsals = self.rehearsals, waiting = self.waiting,
		tee = self.parts.tee, readiness = self.parts.readiness, operations = self.parts.operations,
		secrets = self.parts.secrets, mono_ms = self.parts.mono_ms, config = self.parts.config, audit = self.parts.audit,
	}):routes()
end

--- Declares the metrics.
-- @param set kms.admin.metrics
function Recovery:declare(set)
	if not self.sets then return end
	metrics_recovery.declare(set, { sets = self.sets, rehearsals = self.rehearsals, wall_ms = self.parts.wall_ms })
end

--- Makes what waits for custodians, before the node's readiness, which uses it.
-- @param parts of kms.node.assemble
function Recovery:prepare(parts)
	if not self.sets then return nil end
	self.waiting = waiting.new({
		sets = self.sets, tee = parts.tee, log = parts.log, wall_ms = parts.wall_ms, mono_ms = parts.mono_ms,
		audit = parts.audit,
	})
	return self.waiting
end

--- Makes the parts that need the node's secrets and readiness.
-- @param parts of kms.node.assemble, with secrets and readiness
function Recovery:connect(parts)
	self.parts = parts
	if not self.sets then return end
	self.age_files = age_files.new({ set = self.sets[1], secrets = parts.secrets, wall_ms = parts.wall_ms })
	self.rehearsals = rehearsals.new({
		set = self.sets[1], secrets = parts.secrets, store = parts.store, native_nonces = parts.native_nonces,
		tee = parts.tee, readiness = parts.readiness, config = parts.config, log = parts.log, wall_ms = parts.wall_ms,
		mono_ms = parts.mono_ms, on_change = function() parts.early_push:changed() end,
	})
end

--- Reads the custodians.
-- @param deps config (RECOVERY), log
-- @return recovery | nil, message
function M.new(deps)
	local self = needs.take(deps, "config log")
	local sets, message = custodians.load(self.config.RECOVERY)
	if sets == nil then return nil, message end
	self.sets = sets
	if sets then
		self.log:info("custodians", { set = sets[1].id, threshold = sets[1].threshold, custodians = #sets[1].custodians,
			earlier_sets = #sets - 1 })
	end
	return setmetatable(self, Recovery)
end

return M
