--- One node of a devnet, and its fake Odyn service where it has one. Functions that wait yield.

local fetch = require("kms.http.fetch")
local files = require("kms.base.files")
local identity = require("kms.base.identity")
local process = require("devnet.process")
local native = require("kms_native")
local sim = require("kms.tee.sim")
local sim_attest = require("kms.tee.sim_attest")
local uv = require("luv")

local M = {}

local Node = {}
Node.__index = Node

local STOP_MS = 15000

-- Short intervals, so that changes show within seconds. Where the machine is busy for so long, nodes must not stop to
-- serve: their views of the chain, which are up to two seconds old when they are read, last longer.
local ENVIRONMENT = {
	IN_ENCLAVE = "false", CHAIN = "evm", CHAIN_CONFIRMATIONS = "0", LOG_FORMAT = "json",
	KMS_NODE_TICK_SECONDS = "2", DATA_SYNC_INTERVAL_SECONDS = "1", REGISTRY_CACHE_TTL_SECONDS = "2",
	PEER_CACHE_TTL_SECONDS = "30", RATE_LIMIT_PER_MINUTE = "0", NONCE_RATE_LIMIT_PER_MINUTE = "0",
	SESSION_OPEN_PER_MINUTE = "0",
	METRICS_ADDR = "off", -- all nodes would use the same default port; AUDIT is off by default
}

--- The identity of a seed file, which is created if missing.
-- @return { wallet (text), tee_pubkey (DER bytes), seed (handle) } | nil, message
function M.identity(path)
	local seed, message = sim.seed(path)
	if not seed then return nil, message end
	local keys
	keys, message = identity.of(seed)
	if not keys then return nil, message end
	return { wallet = keys.wallet:address(), tee_pubkey = keys.p384:public_der(), seed = seed }
end

--- A node that has an identity and is not running yet.
-- @param options  index; dir; port; odyn_port (nil: keys in the node itself, TEE=sim); metrics_port, of its metrics and
--   status page (nil: it has none, and no audit log); program; env: further settings; on_end(node, process, what):
--   called when a process ends by itself
-- @return node; its fields for others beside those: url, page_url and audit_log (path), each nil where there is none |
--   nil, message
function M.new(options)
	local self = setmetatable({
		index = options.index, dir = options.dir, port = options.port, odyn_port = options.odyn_port,
		program = options.program, settings = options.env or {}, on_end = options.on_end or function() end,
		url = "http://127.0.0.1:" .. options.port,
	}, Node)
	if options.metrics_port then
		self.metrics_addr = "127.0.0.1:" .. options.metrics_port
		self.page_url, self.audit_log = ("http://%s/ui"):format(self.metrics_addr), self.dir .. "/audit.log"
	end
	local ok, message = self:make_identity()
	if not ok then return nil, message end
	return self
end

--- Makes its folder and identity, or reads what is there: wallet, tee_pubkey, attest_root (SHA-256 of the root of its
-- simulated attestation documents, in hex).
-- @return true | nil, message
function Node:make_identity()
	local ok, message = files.make_dir(self.dir)
	if not ok then return nil, message end
	local own, signer
	own, message = M.identity(self.dir .. "/node.seed")
	if not own then return nil, message end
	signer, message = sim_attest.open(self.dir, own.seed)
	if not signer then return nil, message end
	self.wallet, self.tee_pubkey = own.wallet, own.tee_pubkey
	self.attest_root = native.hex_encode(native.sha256(signer:certificate()))
	return true
end

-- Of this process's environment only what finds programs.
local function base_environment()
	return { PATH = os.getenv("PATH") }
end

local function environment(self, cluster)
	local env = base_environment()
	for name, value in pairs(ENVIRONMENT) do env[name] = value end
	env.TEE = self.odyn_port and "odyn" or "sim"
	env.ODYN_URL = self.odyn_port and "http://127.0.0.1:" .. self.odyn_port
	if self.metrics_addr then
		env.METRICS_ADDR, env.AUDIT = self.metrics_addr, assert(uv.fs_realpath(self.dir)) .. "/audit.log"
	end
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

--- Starts its fake Odyn service, if it has one.
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

--- Starts the node, also one that has ended.
-- @param cluster  settings that all nodes share: the chain and its contracts; nil: those of the last start
-- @return true | nil, message
function Node:start(cluster)
	self.cluster = cluster or self.cluster
	local message
	self.process, message = start(self, "node", { "serve" }, environment(self, self.cluster))
	if not self.process then return nil, message end
	return true
end

--- Reads GET /status.
-- @return decoded object | nil, message
function Node:status()
	local response, message = fetch.json({ url = self.url .. "/status", timeout_ms = 2000 })
	if not response then return nil, message end
	local page = response.value
	if type(page) ~= "table" or type(page.node) ~= "table" then return nil, "/status does not describe a node" end
	return page
end

--- Whether the node serves.
-- @return true | false, reason
function Node:ready()
	if not self.process:alive() then return false, self.process:ending() end
	local page = self:status()
	if not page then return false, "does not answer" end
	if page.node.service_available == true then return true end
	return false, tostring(page.node.service_unavailable_reason)
end

--- Kills the node and its fake Odyn service, as a machine that dies.
function Node:kill()
	self.process:kill()
	if self.odyn then self.odyn:kill() end
end

--- Stops the node, then its fake Odyn service.
function Node:stop()
	if self.process then self.process:stop(STOP_MS) end
	if self.odyn then self.odyn:stop(STOP_MS) end
end

return M
