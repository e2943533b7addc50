--- The nodes that the table of cases is run against, started once for a client. Every case has an application of its
-- own.

local v1_node = require("spec.support.v1_node")
local clusters = require("spec.support.cluster")
local crypto = require("spec.support.crypto")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local policies = require("spec.support.policies")

local M = {}

local SETTINGS = { SESSION_OPEN_PER_MINUTE = "0", MAX_SESSIONS = "1024" }
local WITHOUT_SESSIONS = [[return {
	{ method = "GET", path = "/ready", handler = "ready" }, { method = "GET", path = "/status", handler = "status" },
	{ method = "GET", path = "/nonce", handler = "nonce" },
	{ method = "POST", path = "/kms/derive", handler = "derive" },
	{ method = "GET", path = "/kms/data", handler = "list" },
	{ method = "GET", path = "/kms/data/<key>", handler = "get" },
	{ method = "PUT", path = "/kms/data", handler = "put" }, { method = "DELETE", path = "/kms/data", handler = "delete" },
}]]
local FIRST_APP = 1000

local World = {}
World.__index = World

--- The application of a case.
-- @return { seed (hex), identity, app_id }
function World:app(name)
	return assert(self.apps[name])
end

--- A node of a kind that cases name.
-- @return { url, port (nil: it is stood before by nobody), wallet, der }
function World:node(kind, app)
	if kind == "nobody" then return { url = "http://127.0.0.1:" .. self.nobody } end
	if kind == "existing" then
		local existing = v1_node.start(app.identity.point)
		local port = tonumber(existing.url:match("%d+$"))
		return { url = existing.url, port = port, wallet = existing.identity.wallet, der = existing.identity.der }
	end
	local node = assert(self.nodes[kind], kind)
	return { url = "http://127.0.0.1:" .. node.port, port = node.port, wallet = node.wallet, der = node.der }
end

--- A cluster whose nodes the client reads from a chain.
-- @return what `chain` in a driver's `open` is, and the seed of an application (hex) | nil, why there is none
function World:chain()
	local missing = clusters.missing()
	if missing then return nil, missing end
	self.cluster = self.cluster or clusters.start({ env = SETTINGS })
	local net = self.cluster.net
	local chain = { rpc_url = net.chain.url, registry = net.registry.apps, kms_registry = net.registry.kms }
	return chain, files.read(net.apps[1].seed_path):match("^%x+")
end

--- Stops what was started.
function World:stop()
	for _, node in pairs(self.nodes) do node:stop() end
	if self.folder then self.folder:remove() end
	if self.cluster then self.cluster:stop() end
end

local function make_apps(cases)
	local apps, list = {}, {}
	for i, case in ipairs(cases) do
		local seed = crypto.keccak256("application of the case " .. case.name)
		local app = { seed = crypto.hex(seed), identity = crypto.seed_identity(seed), app_id = tostring(FIRST_APP + i) }
		if apps[case.name] then error("two cases are called " .. case.name, 0) end
		apps[case.name], list[i] = app, app
	end
	return apps, list
end

--- Starts the nodes that the cases name.
function M.start(cases)
	local self = setmetatable({ nodes = {} }, World)
	local list
	self.apps, list = make_apps(cases)
	self.nobody = nodes.free_port()
	local ok, failure = pcall(function()
		self.nodes.node = nodes.start({ env = SETTINGS })
		self.nodes.other = nodes.start({ env = SETTINGS })
		self.folder = policies.new()
		self.folder:write("routes", WITHOUT_SESSIONS)
		self.nodes.without = nodes.start({ env = { POLICY_DIR = self.folder.dir } })
		for _, node in pairs(self.nodes) do node:register(list) end
	end)
	if not ok then
		self:stop()
		error(failure, 0)
	end
	return self
end

return M
