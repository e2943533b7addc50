--- kms.node.readiness with parts of tables around it, for its specs. Fields that specs read and change: chain
-- (spec.support.fake_chain), identity (known), tee, service (master: what it got), saved (secrets of earlier
-- runs), bootstrap (given: the secret that peers give; of_all: what their refusals say together), existing (fetched:
-- how often), join (found: what a round finds; rounds, returns: how often it was called), alone (settings), wall and
-- mono (the clocks), lines (the log), held (kms.node.master_secrets), node (the readiness), seen_all (what on_complete
-- was told), absence, shared_ms (as of kms.sync.repair). Before open(): quiet_ms, snapshots (of kms.node.snapshots).

local absence = require("kms.node.absence")
local clock = require("kms.base.clock")
local fake_chain = require("spec.support.fake_chain")
local master_secrets = require("kms.node.master_secrets")
local native = require("spec.support.native")
local outbound = require("kms.peers.outbound")
local peers = require("kms.peers")
local readiness = require("kms.node.readiness")

local M = {}

local seed = native.secret_random(32)
local wallet, p384 = native.identity(seed)
local OTHER = "0x" .. ("2"):rep(40)

local Fixture = {}
Fixture.__index = Fixture

local function silent()
	local log = { lines = {} }
	local function add(_, event, fields) log.lines[#log.lines + 1] = { event, fields } end
	log.info, log.warn = add, add
	function log.limited(_, _, _, _, event, fields) add(nil, event, fields) end
	return log
end

local function new_tee(self)
	local tee = { address = wallet:address(), public_der = p384:public_der() }
	function tee.random_secret() return native.secret_random(32) end
	function tee.load_masters() return self.saved end
	function tee.save_master(_, secret)
		table.insert(self.saved, 1, secret)
		return true
	end
	return tee
end

local function new_bootstrap()
	local bootstrap = {
		asked = {},
	}
	function bootstrap:secret(hash, settled)
		self.asked[#self.asked + 1] = settled
		local found = self.given and self.given:keccak256() == hash
		if found then return self.given, "http://peer" end
		return nil, "nobody has it", self.of_all
	end
	return bootstrap
end

--- What a round of kms.sync.join finds.
-- @param members number of other members
-- @param outcomes how many have each outcome
function M.found(members, outcomes)
	local found = {
		members = members, done = 0, incomplete = 0, error = 0, unlisted = 0, refused = 0, silent = 0, owing = 0,
		smaller = 0,
	}
	for name, count in pairs(outcomes) do found[name] = count end
	return found
end

local function new_join()
	local join = { found = M.found(1, { done = 1 }), rounds = 0, returns = 0 }
	function join:returned() self.returns = self.returns + 1 end
	function join:round()
		self.rounds = self.rounds + 1
		return self.found
	end
	return join
end

--- Makes the node anew.
-- @param given secret of MASTER_SECRET_HEX, or nil
function Fixture:open(given)
	local log = silent()
	self.lines = log.lines
	local function wall_ms() return self.wall end
	local function mono_ms() return self.mono end
	local list = peers.new({
		chain = self.chain, app_id = "49", tee = self.tee, log = log, mono_ms = mono_ms, wall_ms = wall_ms,
		audit = require("spec.support.audit").new(),
		bans = {}, backoff_ms = function() return 0 end, interval_ms = function() return 10000 end,
		outbound = outbound.new({ config = { IN_ENCLAVE = false, ALLOW_PRIVATE_PEERS = true }, env = function() end }),
	})
	self.held = master_secrets.new({ tee = self.tee, given = given })
	self.absence = absence.new({
		mono_ms = mono_ms, wall_ms = wall_ms, log = log, retention_ms = 86400000, view_ttl_ms = 180000, skew_ms = 15000,
		shared_ms = function() return self.shared_ms end,
	})
	self.node = readiness.new({
		identity = self.identity, chain = self.chain, peers = list, tee = self.tee, service = self.service,
		secrets = self.held, log = log, bootstrap = self.bootstrap, existing = self.existing, mono_ms = mono_ms,
		tick_ms = 60000, view_ttl_ms = 180000, quiet_ms = self.quiet_ms, snapshots = self.snapshots,
		on_complete = function(seen_all) self.seen_all = seen_all end,
		join = self.join, alone = self.alone, absence = self.absence,
		sleep = function() self.sleeping = coroutine.running() coroutine.yield() end,
		clock = clock.new({ wall_ms = wall_ms, mono_ms = mono_ms, max_skew_ms = 15000 }),
	})
end

--- Lets time pass on both clocks.
function Fixture:pass(ms)
	self.wall, self.mono = self.wall + ms, self.mono + ms
end

--- A tick on a chain whose newest block is of now, and another round of kms.sync.join where one waits.
function Fixture:tick()
	self.chain.now_ms = self.wall
	local sleeping = self.sleeping
	self.sleeping = nil
	if sleeping then coroutine.resume(sleeping) end
	self.node:tick()
end

--- Ticks, and the node does not serve, for this reason.
function Fixture:stays_unready(reason)
	self:tick()
	assert(not self.node.ready and not self.node:is_verified(), "it serves")
	if self.node.reason ~= reason then error(("want reason %s, got %s"):format(reason, self.node.reason), 2) end
	assert(not self.service.master, "the service has a master secret")
end

--- Adds another member, whose part `bootstrap` plays.
function Fixture:add_member()
	local _, key = native.identity(native.secret_random(32))
	self.chain:register("49", OTHER, key:public_der())
end

--- @return a node that is a member, before its first tick
function M.new()
	local self = setmetatable({ wall = 1700000000000, mono = 5000, saved = {}, chain = fake_chain.new() }, Fixture)
	self.chain:register("49", wallet:address(), p384:public_der())
	self.tee, self.bootstrap, self.join = new_tee(self), new_bootstrap(), new_join()
	self.existing = { fetch_all = function(existing) existing.fetched = (existing.fetched or 0) + 1 end }
	self.alone = { after_ms = 30000, silent_ms = 300000, at_once = false }
	self.service = { set_master = function(service, secret) service.master = secret end }
	self.identity = { learn = function() return true end }
	self:open()
	return self
end

return M
