--- Clusters of real nodes on a real chain (devnet), for specs. Calls block their caller while
-- the loop runs, but for what the devnet itself does: that goes through M.await.

local apps = require("spec.support.app")
local assert = require("luassert")
local backend = require("spec.support.backend")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local devnet = require("devnet")
local files = require("spec.support.files")
local http = require("spec.support.http")
local nodes = require("spec.support.node")
local ports = require("spec.support.ports")
local session = require("kms.cli.session")
local uv = require("luv")

require("spec.support.native") -- guarded memory for the seeds
local wait = require("spec.support.wait")

local M = {}

local Cluster = {}
Cluster.__index = Cluster

-- As short as it gets, so that limits are reached within a spec. Not so PEER_CACHE_TTL_SECONDS: where a machine is busy
-- for some seconds, nodes must not stop to serve. A view of the chain is up to two seconds old when it is read.
local SETTINGS = {
	KMS_NODE_TICK_SECONDS = "1", DATA_SYNC_INTERVAL_SECONDS = "1", REGISTRY_CACHE_TTL_SECONDS = "1",
	PEER_CACHE_TTL_SECONDS = "30", PEER_BLACKLIST_DURATION_SECONDS = "2", THREADS = "1",
}
local STOP_MS = 30000
local WRITE_S = 60
local INHERITED = { "ASAN_OPTIONS", "UBSAN_OPTIONS" }

--- Why there can be no cluster here, or nil.
function M.missing()
	local ok, message = require("devnet.anvil").available(".")
	if ok then return nil end
	return message
end

--- busted's `it` for tests of a cluster: pending where there can be none.
-- @param it, pending as busted gives them to the spec
-- @param cluster function that returns the cluster; the test fails when a part of it ended by itself; or nil
-- @return function(name, body)
function M.test(it, pending, cluster)
	return function(name, body)
		local missing = M.missing()
		if missing then return pending(("%s: %s"):format(name, missing)) end
		it(name, function()
			body()
			if cluster then assert.same({}, cluster().ended) end
		end)
	end
end

-- SETTINGS, what sanitizers read, and what a spec is about.
local function settings(more)
	local env = {}
	for name, value in pairs(SETTINGS) do env[name] = value end
	for _, name in ipairs(INHERITED) do env[name] = os.getenv(name) end
	for name, value in pairs(more or {}) do env[name] = value end
	return env
end

--- Runs fn(), which yields, to its end.
function M.await(fn)
	local result = session.wait(fn)
	uv.run("nowait") -- luv 1.44 crashes when Lua ends while a handle is being closed
	return result
end

--- Starts a cluster of three nodes and waits until every node serves.
-- @param options odyn (keys in TEE services), env (further settings), earlier (by number, what Cluster:set_version
--   takes of nodes of another version), custodians ({ count, threshold }, devnet), prepare (function(net), called
--   before the start)
-- @return cluster { net (devnet), ended (processes that ended by themselves) }
function M.start(options)
	local self = setmetatable({ dir = files.temp_dir(), ended = {}, made = {} }, Cluster)
	self.net = assert(devnet.new({
		root = ".", dir = self.dir .. "/net", program = nodes.program, nodes = 3, port = ports.take(ports.DEVNET),
		odyn = options.odyn or backend.name == "odyn",
		env = settings(options.env), state_interval = 1, custodians = options.custodians,
		on_end = function(node, process, what)
			self.ended[#self.ended + 1] = ("%s %s (%d) %s"):format(what, node and node.index or "", process.pid,
				process:ending())
		end,
	}))
	for index, version in pairs(options.earlier or {}) do self:set_version(index, version) end
	if options.prepare then options.prepare(self.net) end
	local ok, failure = pcall(M.await, function() self.net:start() end)
	if ok then return self end
	self:stop()
	error(failure, 2)
end

--- Ends everything.
function Cluster:stop()
	M.await(function() self.net:stop() end)
	files.remove_dir(self.dir)
end

--- A node by its number.
function Cluster:node(index)
	return self.net.nodes[index]
end

--- Sets which program a node is from its next start on.
-- @param version  { program (path), policies (folder of those that it ships) } | nil: this build
function Cluster:set_version(index, version)
	local node = self:node(index)
	node.program = version and version.program or nodes.program
	node.own_settings = node.own_settings or node.settings
	node.settings = {}
	for name, value in pairs(node.own_settings) do node.settings[name] = value end
	if version then node.settings.POLICY_DIR = version.policies end
end

--- What a node's /status says.
function Cluster:status(index)
	return cjson.decode(assert(http.get(self:node(index).port, "/status")).body)
end

--- Waits until every node serves.
function Cluster:wait_ready(timeout_ms)
	M.await(function() self.net:wait_ready(timeout_ms) end)
end

--- An application with an identity of made-up keys, registered on chain and served by every node.
-- @return one client a node (spec.support.app), with app_id and instance_id
function Cluster:register(name)
	local identity = crypto.made_up(name)
	local instance = { wallet = identity.wallet, tee_pubkey = identity.der, url = "http://127.0.0.1:1" }
	self:owner(function(registry)
		instance.app_id = registry:create_apps({ { name = name } })[1]
		instance.instance_id = registry:register({ instance })[1]
	end)
	local clients = self:clients(identity, instance.app_id)
	clients.app_id, clients.instance_id = instance.app_id, instance.instance_id
	M.on_every_node("admission", clients, function(client) return client:derive({ path = "p" }).status == 200 end)
	return clients
end

--- Clients of every node with one identity.
function Cluster:clients(identity, app_id)
	local clients = {}
	for i, node in ipairs(self.net.nodes) do
		self.made[i] = self.made[i] or {}
		local target = { port = node.port, wallet = node.wallet, der = node.tee_pubkey, point = node.tee_pubkey:sub(-97) }
		clients[i] = apps.with_identity(target, tostring(app_id), identity)
		table.insert(self.made[i], clients[i])
	end
	return clients
end

--- Ends nodes at once, as a crash does.
-- @param ...  their numbers
function Cluster:kill(...)
	for _, index in ipairs({ ... }) do
		M.await(function() self:node(index).process:kill() end)
		-- No nonce outlives the process that issued it.
		for _, client in ipairs(self.made[index] or {}) do client.next_nonce = nil end
	end
end

--- Ends a node as a supervisor does (SIGTERM), and waits for its end.
function Cluster:stop_node(index)
	M.await(function() self:node(index).process:stop(STOP_MS) end)
	for _, client in ipairs(self.made[index] or {}) do client.next_nonce = nil end
end

--- Starts nodes that have ended.
function Cluster:revive(...)
	for _, index in ipairs({ ... }) do assert(self:node(index):start()) end
end

--- Runs fn(registry), a change by the chain's owner.
function Cluster:owner(fn)
	M.await(function() fn(self.net.registry) end)
end

--- Writes a value, as soon as the node makes writes: one that restarted and found no complete store first waits for
-- twice MAX_CLOCK_SKEW_MS.
function M.write(client, key, value)
	wait.until_true("a write of " .. key, function() return client:put(key, value).status == 200 end, WRITE_S)
end

-- What call(client) returns; false, and why, where it throws: a node that does not serve is no reason to give up.
local function try(call, client)
	local ok, value, detail = pcall(call, client)
	if ok then return value, detail end
	return false, value
end

--- Waits until every client's call(client) returns a true value.
-- @param what  what is waited for; @param call  where it throws, it is called again
-- @param timeout_s  seconds, for each client
function M.on_every_node(what, clients, call, timeout_s)
	for i, client in ipairs(clients) do
		wait.until_true(("%s on node %d"):format(what, i), function() return try(call, client) end, timeout_s)
	end
end

return M
