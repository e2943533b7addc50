--- The node: starts its parts, runs their timers, and stops them.

local uv = require("luv")
local admin = require("kms.admin")
local assemble = require("kms.node.assemble")
local commands = require("kms.admin.commands")
local core = require("kms.node.core")
local http = require("kms.http.server")
local limits = require("kms.config.limits")
local facts = require("kms.admin.ui.facts")
local loop = require("kms.base.loop")
local metrics_limits = require("kms.admin.metrics.limits")
local metrics_members = require("kms.admin.metrics.members")
local metrics_node = require("kms.admin.metrics.node")
local metrics_repair = require("kms.admin.metrics.repair")
local metrics_policy = require("kms.admin.metrics.policy")
local metrics_process = require("kms.admin.metrics.process")
local metrics_services = require("kms.admin.metrics.services")
local metrics_snapshot = require("kms.admin.metrics.snapshot")
local metrics_audit = require("kms.admin.metrics.audit")
local native = require("kms_native")
local needs = require("kms.base.needs")
local timers = require("kms.node.timers")
local ui = require("kms.admin.ui")

local M = {}

local Node = {}
Node.__index = Node

local SECOND_MS = 1000
local SERVED_POLL_MS = 10
local AUDIT_STOP_MS = 1000 -- for the last lines of the audit log, beyond SHUTDOWN_TIMEOUT_SECONDS where need be

-- Returns the server | nil, message.
local function listen(parts)
	local config = parts.config
	local server = http.new({
		handler = function(request) return parts.dispatcher:handle(request) end,
		log = parts.log, config = config, max_line_bytes = limits.LINE, exempt_loopback = config.IN_ENCLAVE,
	})
	local host, port = config.BIND_ADDR:match("^%[?(.-)%]?:(%d+)$")
	local ok, message = server:listen(host, tonumber(port))
	if not ok then return nil, ("cannot listen on BIND_ADDR %s: %s"):format(config.BIND_ADDR, message) end
	parts.log:info("listening", {
		address = config.BIND_ADDR, version = native.version, tee = config.TEE, chain = config.CHAIN,
		wallet = parts.tee.address, locked_bytes = (native.guarded()),
	})
	return server
end

-- Declares what /metrics shows. Returns the timer that measures the loop's lag.
local function declare_metrics(parts, server, is_stopping)
	local set = parts.metrics
	metrics_node.declare(set, {
		readiness = parts.readiness, is_stopping = is_stopping, store = parts.store, mono_ms = parts.mono_ms,
		peers = parts.peers, bans = parts.bans, pusher = parts.pusher, bootstrap = parts.bootstrap,
		replies = parts.replies, clock_check = parts.clock_check,
	})
	metrics_limits.declare(set, { config = parts.config })
	metrics_members.declare(set, { peers = parts.peers, pusher = parts.pusher, repair = parts.repair })
	metrics_repair.declare(set, { repair = parts.repair })
	metrics_snapshot.declare(set, { snapshots = parts.snapshots })
	metrics_audit.declare(set, { audit = parts.audit })
	metrics_services.declare(set, {
		server = server, nonces = parts.nonces, sessions = parts.sessions, channels = parts.channels, chain = parts.chain,
		readiness = parts.readiness, authorizer = parts.authorizer, tee = parts.tee, wall_ms = parts.wall_ms,
	})
	metrics_policy.declare(set, { policy = parts.policy, log = parts.log })
	parts.recovery:declare(set)
	return metrics_process.declare(set, { server = server, wall_ms = parts.wall_ms, config = parts.config })
end

-- Returns admin | nil, message.
local function open_admin(parts, server, is_stopping, on_drain)
	local operator
	local shown = facts.new({
		status = parts.status, members = function() return (operator:members()) end, metrics = parts.metrics,
		recovery = parts.recovery, store = parts.store, sessions = parts.sessions, chain = parts.chain,
		readiness = parts.readiness, server = server, config = parts.config, mono_ms = parts.mono_ms,
		wall_ms = parts.wall_ms, is_stopping = is_stopping,
	})
	operator = commands.new({
		status = parts.status, server = server, peers = parts.peers, bans = parts.bans, pusher = parts.pusher,
		repair = parts.repair, policy = parts.policy, reloader = parts.reloader, log = parts.log, mono_ms = parts.mono_ms,
		wall_ms = parts.wall_ms, is_stopping = is_stopping, on_drain = on_drain, snapshots = parts.snapshots,
		audit = parts.audit, facts = shown,
	})
	return admin.open({
		metrics = parts.metrics, log = parts.log, config = parts.config, audit = parts.audit, commands = operator,
		ui = parts.config.STATUS_PAGE and ui.new({ mono_ms = parts.mono_ms, facts = shown }) or nil,
	})
end

--- Starts a node and opens its port. native.init has run.
-- @param deps config, log, shipped (folder of the shipped policies); given_secret (handle of MASTER_SECRET_HEX),
--   optional
-- @return node | nil, message, or a list of what is wrong with the policies
function M.start(deps)
	deps = needs.take(deps, "config log shipped", "given_secret")
	local self = setmetatable({ stopping = false, drain = function() end, fail = function() end }, Node)
	local function is_stopping() return self.stopping end
	local parts, message = core.open(deps.config, deps.log, deps.shipped)
	if not parts then return nil, message end
	local ok
	ok, message = assemble.join_cluster(parts, {
		shipped = deps.shipped, given_secret = deps.given_secret,
	})
	if not ok then return nil, message end
	assemble.open_routes(parts)
	self.server, message = listen(parts)
	if not self.server then return nil, message end
	self.lag_timer = declare_metrics(parts, self.server, is_stopping)
	self.admin, message = open_admin(parts, self.server, is_stopping, function() self.drain() end)
	if not self.admin then return nil, message end
	-- What the start has left would be collected for minutes, with what else an idle node does, from memory that is in no
	-- cache then: 10 us a second.
	collectgarbage()
	timers.run(parts, is_stopping, function(reason) self.fail(reason) end)
	parts.reloader:watch()
	loop.on_signal("sighup", function() parts.audit:reopen() end)
	self.readiness, self.chain, self.last_push = parts.readiness, parts.chain, parts.last_push
	self.snapshots, self.audit = parts.snapshots, parts.audit
	self.reloader, self.suspensions = parts.reloader, parts.policy.suspensions
	self.shutdown_ms = math.floor(parts.config.SHUTDOWN_TIMEOUT_SECONDS * SECOND_MS)
	return self
end

--- Sets what is called when the operator asks the process to end (POST /drain of the control socket).
function Node:on_drain(fn)
	self.drain = fn
end

--- Sets what is called with the reason when the node finds out that it cannot be what its configuration says.
function Node:on_failure(fn)
	self.fail = fn
end

--- Whether applications are served.
function Node:is_ready()
	return self.readiness.ready
end

--- Stops accepting, lets running requests finish, pushes their changes and writes a sealed snapshot, all within
-- SHUTDOWN_TIMEOUT_SECONDS, ends the suspensions of rules and the audit log, then calls `on_stopped`.
function Node:stop(on_stopped)
	self.stopping = true
	local served = false
	local deadline_ms = native.mono_ms() + self.shutdown_ms
	self.chain:close()
	self.server:stop(function() served = true end)
	loop.spawn(function()
		loop.try(self.last_push.run, self.last_push, deadline_ms, function() return served end)
		while not served do loop.sleep(SERVED_POLL_MS) end
		if self.snapshots then loop.try(self.snapshots.keeper.at_stop, self.snapshots.keeper, deadline_ms) end
		loop.try(self.reloader.close, self.reloader)
		loop.try(self.suspensions.stop, self.suspensions)
		loop.try(self.audit.close, self.audit, math.max(deadline_ms, native.mono_ms() + AUDIT_STOP_MS))
		loop.close(self.lag_timer)
		self.admin:close(on_stopped)
	end)
end

--- Sets the number of threads for native work: THREADS, or one for each core and at least 2, so that there is one
-- beside long work (csrc/bind/job.c). Takes effect before the first job.
-- @param writers how many parts write files all the time (sealed snapshots, the audit log): one more thread for each,
--   since its disk may not answer
function M.set_threads(threads, writers)
	local count = threads > 0 and threads or math.max(2, uv.available_parallelism())
	uv.os_setenv("UV_THREADPOOL_SIZE", tostring(count + writers))
end

return M
