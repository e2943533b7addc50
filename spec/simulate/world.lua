--- A simulated cluster: its nodes, its chain, and what a schedule may do to them.

local network = require("spec.simulate.network")
local node = require("spec.simulate.node")

local config = require("spec.support.config")
local crypto = require("spec.support.crypto")
local fake_chain = require("spec.support.fake_chain")
local generator = require("spec.simulate.generator")
local loop = require("spec.simulate.virtual_loop")
local native = crypto.native
local seeded_random = require("seeded_random")

local M = {}

local KMS_APP_ID = "49"

local World = {}
World.__index = World

local secret
do
	local uv = require("luv")
	uv.os_setenv("KMS_SPEC_MASTER", ("5d"):rep(32))
	secret = assert(native.take_env("KMS_SPEC_MASTER", 32))
	uv.os_unsetenv("KMS_SPEC_MASTER")
end

-- A chain on which every application is registered.
local function new_chain()
	local chain = fake_chain.new()
	setmetatable(chain.apps, { __index = function(_, id) return { id = id, status = 0 } end })
	return chain
end

local TIGHT_BYTES = 2000 -- of an application, where values are evicted

local function config_of(plan, made)
	local variables = {
		KMS_APP_ID = KMS_APP_ID, CHAIN = "local", TEE = "sim", IN_ENCLAVE = "false", ALLOW_PRIVATE_PEERS = "true",
		DATA_DIR = "/nonexistent", MAX_NAMESPACES = "16",
		PEER_SESSIONS = tostring(made.has_sessions), MAX_SESSIONS = "64",
	}
	for name, value in pairs(plan.variables) do variables[name] = value end
	if made.is_tight then variables.MAX_APP_STORAGE_BYTES = tostring(TIGHT_BYTES) end
	return config.load_env(variables)
end

local function add_node(self, index, plan)
	local host = ("10.0.0.%d:8000"):format(index)
	local made = {
		index = index, url = "http://" .. host, offset_ms = plan.offsets[index], state = "down", life = 0, held = {},
		written = setmetatable({}, { __mode = "k" }), page_bytes = plan.page_bytes, is_tight = plan.tight[index],
		is_existing = index == plan.existing,
		lies = index == plan.liar and { random = generator.new(index) } or nil,
	}
	made.has_sessions = plan.sessions ~= nil and plan.sessions[index] and not made.is_existing
	made.config = config_of(plan, made)
	self.nodes[index], self.network.nodes[host] = made, made
	if not made.lies then self.honest[#self.honest + 1] = made end
	if not made.is_existing and not made.lies then self.own[#self.own + 1] = made end
	local tee = node.identity(index)
	made.instance = self.chain:register(KMS_APP_ID, tee.address, tee.public_der)
	made.instance.url = made.url
end

--- Makes a cluster and starts its nodes.
-- @param plan { nodes (their number), offsets (of their wall clocks, ms), keep_secrets (whether each holds the
--   secret from its start on), lose, again (chances in a thousand), delay_ms, network_seed, variables (settings), tight
--   (which nodes have little room), sessions (which nodes have sessions with members, or nil), page_bytes (of the pages
--   of a join, or nil), existing, liar (number of such a node, or nil) }
-- @return cluster; its fields: nodes; honest, those of them that are no liars; and own, those that keep this version's
--   promises
function M.new(plan)
	loop.reset()
	math.randomseed(plan.network_seed)
	assert(seeded_random(plan.network_seed), "spec/simulate/run preloads what makes simulations replay")
	local self = setmetatable({
		plan = plan, chain = new_chain(), nodes = {}, honest = {}, own = {}, secret = secret,
		keep_secrets = plan.keep_secrets,
	}, World)
	self.network = {
		nodes = {}, cuts = {}, call_cuts = {}, lose = plan.lose, again = plan.again, delay_ms = plan.delay_ms, bytes = 0,
		random = generator.new(plan.network_seed),
	}
	self.chain.hash = secret:keccak256()
	function self.chain.describe() return {} end
	local head = self.chain.head
	function self.chain.head(chain)
		chain.now_ms = node.START_MS + loop.now() - 2000
		return head(chain)
	end
	for index = 1, plan.nodes do add_node(self, index, plan) end
	network.use(self.network)
	for _, each in ipairs(self.nodes) do node.start(each, self) end
	return self
end

--- Whether a node serves.
function World:is_serving(index)
	local each = self.nodes[index]
	return each.state == "up" and each.parts.readiness.ready
end

--- Lets time pass until a moment.
function World:run_until(ms) -- luacheck: no self
	loop.run_until(ms)
end

--- Cuts the way between two nodes.
-- @param of_calls whether only calls of the first one to the second are cut: it answers those of the second
function World:cut(from, to, of_calls)
	if of_calls then
		self.network.call_cuts[from .. ":" .. to] = true
	else
		self.network.cuts[from .. ":" .. to], self.network.cuts[to .. ":" .. from] = true, true
	end
end

--- Mends the way between two nodes.
function World:mend(from, to)
	for _, way in ipairs({ from .. ":" .. to, to .. ":" .. from }) do
		self.network.cuts[way], self.network.call_cuts[way] = nil, nil
	end
end

--- Whether one of two nodes does not reach the other.
function World:is_cut(from, to)
	for _, way in ipairs({ from .. ":" .. to, to .. ":" .. from }) do
		if self.network.cuts[way] or self.network.call_cuts[way] then return true end
	end
	return false
end

--- Stops a node as SIGSTOP does, or lets it go on.
function World:pause(index, is_paused)
	local each = self.nodes[index]
	if each.state == "down" then return end
	each.state = is_paused and "paused" or "up"
	if not is_paused then loop.release(each) end
end

--- Ends a node at once. What it held is gone.
function World:crash(index)
	if self.nodes[index].state ~= "down" then node.crash(self.nodes[index]) end
end

--- Starts a node that has crashed.
function World:restart(index)
	if self.nodes[index].state == "down" then node.start(self.nodes[index], self) end
end

--- Moves a node's wall clock.
function World:shift(index, ms)
	self.nodes[index].offset_ms = self.nodes[index].offset_ms + ms
end

--- Takes a node off the chain's list of members, or puts it there again.
function World:enlist(index, is_member)
	self.nodes[index].is_away = not is_member
	self.nodes[index].instance.status = is_member and 0 or 1
end

--- Ends all faults: everything is a member, everything is up and can reach everything.
function World:heal()
	self.network.cuts, self.network.call_cuts, self.network.lose, self.network.again = {}, {}, 0, 0
	for index, each in ipairs(self.nodes) do
		self:enlist(index, true)
		if each.lies then each.lies.ended = true end
		self:pause(index, false)
		self:restart(index)
	end
end

--- Sends a write of an application.
-- @param done function(the record as written, or nil; the reply)
function World:write(index, method, plain, app_id, done)
	node.request(self.nodes[index], method, plain, app_id, done)
end

return M
