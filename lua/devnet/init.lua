--- A cluster on one machine, to try things and for specs: a chain with both registries, nodes, and
-- registered applications. Its secrets are worth nothing. Functions that wait yield; those that
-- Net:start calls throw a text where a step fails.

local anvil = require("devnet.anvil")
local custodians = require("devnet.custodians")
local folder = require("devnet.folder")
local loop = require("kms.base.loop")
local nodes = require("devnet.node")
local parallel = require("kms.async.parallel")
local ports = require("devnet.ports")
local registry = require("devnet.registry")
local s3 = require("devnet.s3")
local uv = require("luv")

local M = {}

local Net = {}
Net.__index = Net

local READY_MS, POLL_MS = 60000, 100
local APPS = { "demo-1", "demo-2" }

local function must(value, message)
	if value == nil then error(message, 0) end
	return value
end

local function make_node(self, index)
	return must(nodes.new({
		index = index, dir = ("%s/nodes/%d"):format(self.dir, index), port = self.ports.nodes[index],
		odyn_port = self.odyn and self.ports.odyn[index] or nil,
		metrics_port = self.watched and self.ports.metrics[index] or nil, program = self.program, env = self.env,
		on_end = self.on_end,
	}))
end

local function make_app(self, index)
	local path = ("%s/apps/%s.seed"):format(self.dir, APPS[index])
	local app = must(nodes.identity(path))
	app.name, app.seed_path, app.url = APPS[index], path, "http://127.0.0.1:1/" .. APPS[index]
	return app
end

--- Starts the chain from its state file.
function Net:start_chain()
	self.chain = self.chain or anvil.new({
		root = self.root, dir = self.dir .. "/chain", host = self.chain_host, port = self.ports.chain, block_time = 1,
		state = self.dir .. "/chain/state.json", state_interval = self.state_interval,
		on_end = function(ended) self.on_end(nil, ended, "chain") end,
	})
	self.chain:start()
end

-- What all nodes are given: the chain, and what outlives the loss of all of them.
local function cluster_settings(self)
	local settings = {
		HELIOS_RPC_URL = self.chain.url, CHAIN_ID = anvil.CHAIN_ID, NOVA_APP_REGISTRY_ADDRESS = self.registry.apps,
		KMS_REGISTRY_ADDRESS = self.registry.kms, KMS_APP_ID = self.registry.kms_app_id,
	}
	for _, part in ipairs({ self.custodians or false, self.s3 or false }) do
		for name, value in pairs(part and part:settings() or {}) do settings[name] = value end
	end
	return settings
end

--- Registers the nodes' wallets, and funds them for fees.
function Net:register_nodes()
	for _, node in ipairs(self.nodes) do
		self.chain:fund(node.wallet)
		node.app_id = self.registry.kms_app_id
	end
	for i, id in ipairs(self.registry:register(self.nodes)) do self.nodes[i].instance_id = id end
end

--- Deploys the contracts and registers nodes and applications.
function Net:deploy()
	self.registry = registry.deploy(self.chain)
	self:register_nodes()
	for i, id in ipairs(self.registry:create_apps(self.apps)) do self.apps[i].app_id = id end
	for i, id in ipairs(self.registry:register(self.apps)) do self.apps[i].instance_id = id end
end

-- Takes over the registries and ids of the last devnet.
local function restore(self, known)
	self.registry = registry.open(self.chain, known.registry)
	for i, app in ipairs(self.apps) do
		app.app_id, app.instance_id = known.apps[i].app_id, known.apps[i].instance_id
	end
	for i, node in ipairs(self.nodes) do node.instance_id = (known.instances or {})[i] end
	-- The last devnet may have been killed before anvil wrote its state.
	if not self.registry:master_secret_hash() then error("the chain was not kept: start without --keep", 0) end
end

local function record(self)
	local apps, instances = {}, {}
	for i, node in ipairs(self.nodes) do instances[i] = node.instance_id end
	for i, app in ipairs(self.apps) do
		apps[i] = { name = app.name, app_id = app.app_id, instance_id = app.instance_id, wallet = app.wallet }
	end
	must(folder.record(self.dir, {
		ports = self.ports, odyn = self.odyn, s3 = self.s3 ~= nil, apps = apps, instances = instances,
		custodians = self.custodians and { count = #self.custodians.people, threshold = self.custodians.threshold },
		registry = { apps = self.registry.apps, kms = self.registry.kms, kms_app_id = self.registry.kms_app_id },
	}))
end

--- Waits until every node serves; throws with the reason where one does not in time.
-- @param timeout_ms  nil: READY_MS
function Net:wait_ready(timeout_ms)
	local deadline = uv.hrtime() + (timeout_ms or READY_MS) * 1000000
	for _, node in ipairs(self.nodes) do
		local ready, why = node:ready()
		while not ready do
			if uv.hrtime() > deadline or not node.process:alive() then
				error(("node %d is not ready (%s): see %s"):format(node.index, why, node.process.log), 0)
			end
			loop.sleep(POLL_MS)
			ready, why = node:ready()
		end
	end
end

-- Starts a node and its service, unless the devnet is being stopped.
local function start_node(self, node)
	if self.stopping then error("stopped", 0) end
	must(node:start_odyn())
	must(node:start(cluster_settings(self)))
end

--- Starts the nodes that are registered, and records them for a later run.
function Net:start_nodes()
	record(self)
	if self.custodians then self.custodians:write_allowed(self) end
	for _, node in ipairs(self.nodes) do start_node(self, node) end
end

--- Starts everything and waits until all nodes serve. Where it throws, Net:stop ends what was started.
function Net:start()
	if self.custodians then self.custodians:make() end
	if self.s3 then self.s3:start() end
	self:start_chain()
	if self.known then restore(self, self.known) else self:deploy() end
	self:start_nodes()
	self:wait_ready()
end

--- Stops everything that was started, the chain last.
function Net:stop()
	self.stopping = true
	parallel.map(self.nodes, #self.nodes, function(node) node:stop() end)
	if self.s3 then self.s3:stop() end
	if self.chain then self.chain:stop() end
end

local function make_members(self)
	for i = 1, #self.ports.nodes do self.nodes[i] = make_node(self, i) end
	for i = 1, #APPS do self.apps[i] = make_app(self, i) end
end

-- What outlives the loss of all nodes: as the options say, or the last devnet with --keep.
local function make_survivors(self, options)
	local wanted, known = options.custodians, self.known
	if known then wanted = known.custodians end
	if wanted then self.custodians = custodians.new(self.dir, wanted.count, wanted.threshold) end
	if not (known and known.s3 or not known and options.s3) then return end
	self.s3 = s3.new({
		root = self.root, dir = self.dir .. "/s3", port = self.ports.s3,
		on_end = function(ended) self.on_end(nil, ended, "s3") end,
	})
end

-- Takes the folder and ports: those of the last devnet with --keep, otherwise new ones.
local function claim(self, options)
	local known = options.keep and folder.known(self.dir) or nil
	if known and known.odyn then return nil, "a devnet with --odyn keeps no secret: start without --keep" end
	local ok, message = folder.prepare(self.dir, options.keep)
	if not ok then return nil, message end
	self.known = known
	if known then self.ports, message = ports.check(known.ports)
	else self.ports, message = ports.plan(options.port, options.nodes) end
	return self.ports and true, message
end

--- A devnet that is not running yet: its folder, ports and identities.
-- @param options  root: of the source tree; dir; program: path of nova-kms; nodes: their number; odyn: whether keys
--   are in fake Odyn services; port: the first one (0: any); keep: whether to continue the last devnet in dir;
--   watched: whether each node has a status page and an audit log; env: further settings of nodes; custodians:
--   { count, threshold } of the master secret, or nil, with sealed snapshots in a folder; s3: whether these are in a
--   bucket of s3rver; state_interval: seconds between two writes of the chain's state; on_end(node or nil, process,
--   what): called when a process ends by itself
-- @return devnet { dir, ports, nodes, apps; custodians (devnet.custodians), s3 (devnet.s3), or nil } | nil, message
function M.new(options)
	local self = setmetatable({
		root = options.root, dir = options.dir, program = options.program, odyn = options.odyn or false,
		watched = options.watched or false, env = options.env, state_interval = options.state_interval or 60,
		nodes = {}, apps = {},
	}, Net)
	self.on_end = function(...)
		if options.on_end and not self.stopping then options.on_end(...) end
	end
	local ok, message = anvil.available(options.root)
	if ok and options.s3 then ok, message = s3.available(options.root) end
	if ok then ok, message = claim(self, options) end
	if ok then ok, message = pcall(make_members, self) end
	if ok then make_survivors(self, options) end
	if not ok then return nil, message end
	return self
end

return M
