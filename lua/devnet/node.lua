--- One node of a devnet, with its TEE service where it has one. What waits here yields.

local fetch = require("kms.http.fetch")
local files = require("kms.base.files")
local native = require("kms_native")
local process = require("devnet.process")
local sim = require("kms.tee.sim")

local M = {}

local Node = {}
Node.__index = Node

local STOP_MS = 15000

-- Short ticks, so that what one tries shows at once.
local ENVIRONMENT = {
	IN_ENCLAVE = "false", CHAIN = "evm", CHAIN_CONFIRMATIONS = "0", LOG_FORMAT = "json",
	KMS_NODE_TICK_SECONDS = "2", DATA_SYNC_INTERVAL_SECONDS = "1", REGISTRY_CACHE_TTL_SECONDS = "2",
	PEER_CACHE_TTL_SECONDS = "6", RATE_LIMIT_PER_MINUTE = "0", NONCE_RATE_LIMIT_PER_MINUTE = "0",
	METRICS_ADDR = "off", -- there is one default port, and several nodes
}

--- The public halves of the identity in a seed file, which is made where there is none.
-- @return { wallet, tee_pubkey (bytes), seed (handle) } | nil, message
function M.identity(path)
	local seed, message = sim.seed(path)
	if not seed then return nil, message end
	local wallet, p384 = native.identity(seed)
	if not wallet then return nil, p384 end
	return { wallet = wallet:address(), tee_pubkey = p384:public_der(), seed = seed }
end

--- A node that has an identity and does not run yet.
-- @param options index, dir, port, odyn_port (nil: keys in the node itself, TEE=sim), program, env
--   (further settings), on_end(node, process, what)
-- @return node | nil, message
function M.new(options)
	local self = setmetatable({
		index = options.index, dir = options.dir, port = options.port, odyn_port = options.odyn_port,
		program = options.program, settings = options.env or {}, on_end = options.on_end or function() end,
		url = "http://127.0.0.1:" .. options.port,
	}, Node)
	local ok, message = files.make_dir(self.dir)
	if not ok then return nil, message end
	local identity
	identity, message = M.identity(self.dir .. "/node.seed")
	if not identity then return nil, message end
	self.wallet, self.tee_pubkey = identity.wallet, identity.tee_pubkey
	return self
end

-- Nothing of this process's environment but what finds programs.
local function base_environment()
	return { PATH = os.getenv("PATH") }
end

local function environment(self, cluster)
	local env = base_environment()
	for name, value in pairs(ENVIRONMENT) do env[name] = value end
	env.TEE = self.odyn_port and "odyn" or "sim"
	env.ODYN_URL = self.odyn_port and "http://127.0.0.1:" .. self.odyn_port
	env.BIND_ADDR, env.NODE_INSTANCE_URL, env.DATA_DIR = "127.0.0.1:" .. self.port, self.url, self.dir
	for _, more in ipairs({ cluster, self.settings }) do
		for name, value in pairs(more) do env[name] = value end
	end
	return env
end

local function start(self, what, args, env)
	return process.start({
		program = self.program, args = args, env = env, log = ("%s/%s.log"):format(self.dir, what),
		on_end = function(ended) self.on_end(self, ended, what) end,
	})
end

--- Starts its TEE service, where it has one.
-- @return true | nil, message
function Node:start_odyn()
	if not self.odyn_port then return true end
	local message
	self.odyn, message = start(self, "odyn", {
		"devnet-odyn", "--seed", self.dir .. "/node.seed", "--bind", "127.0.0.1:" .. self.odyn_port,
	}, base_environment())
	if not self.odyn then return nil, message end
	return true
end

--- Starts the node itself; again where it has ended.
-- @param cluster  settings that all nodes share: where the chain is, and its contracts
-- @return true | nil, message
function Node:start(cluster)
	self.cluster = cluster or self.cluster
	local message
	self.process, message = start(self, "node", { "serve" }, environment(self, self.cluster))
	if not self.process then return nil, message end
	return true
end

--- What GET /status says.
-- @return decoded object | nil, message
function Node:status()
	local page, response = fetch.json({ url = self.url .. "/status", timeout_ms = 2000 })
	if type(page) ~= "table" or type(page.node) ~= "table" then return nil, response end
	return page
end

--- Whether it serves.
-- @return true | false, why not
function Node:ready()
	if not self.process:alive() then return false, self.process:ending() end
	local page = self:status()
	if not page then return false, "does not answer" end
	if page.node.service_available == true then return true end
	return false, tostring(page.node.service_unavailable_reason)
end

--- Asks the node to end, then its TEE service.
function Node:stop()
	if self.process then self.process:stop(STOP_MS) end
	if self.odyn then self.odyn:stop(STOP_MS) end
end

return M
