--- Where the operator's policies have their say: gathers facts, asks, and turns what comes back into
-- answers and settings. Every question comes after the node's own checks, so that an answer can only
-- narrow; what no hook wants to know costs nothing.

local err = require("kms.base.err")
local facts = require("kms.policy.facts")
local loop = require("kms.base.loop")
local policy = require("kms.policy")
local routes_of = require("kms.policy.route_table")
local uv = require("luv")

local M = {}

local Operator = {}
Operator.__index = Operator

local POLL_MS = 2000 -- between two looks at the files
local TURN_NS = 2000000 -- of questions about records, until others have their turn
local MAX_BACKOFF_S = 86400
local MAX_KNOWN_PEERS = 1000 -- that kms.peers() and the order of pushes are about

-- ---- requests of applications --------------------------------------------------------------------

-- Names are confidential (docs/protocol.md section 12), also where a reason repeats them.
local function loggable(log, reason, asked)
	for _, name in ipairs({ asked.path or "", asked.context or "", asked.key or "" }) do
		if reason and name ~= "" and reason:find(name, 1, true) then return log:name(reason) end
	end
	return reason
end

local function answer(self, request, verdict, asked)
	if verdict == true then return nil end
	request.rule, request.reason = verdict.rule, loggable(self.log, verdict.reason, asked)
	return err.reply(verdict.code, verdict.reason, verdict.retry_after and { ["Retry-After"] = verdict.retry_after })
end

--- An authorised request, before its body is read.
-- @param kind "derive", "get", "list", "put" or "delete"; @param caller of kms.auth.authenticate
-- @return nothing where it may go on, else the answer
function Operator:request(request, kind, caller)
	if not self.policy:wants("access.request") then return nil end
	local asked = facts.request(self.node, request, kind, caller)
	return answer(self, request, self.policy:request(asked), asked)
end

--- The same request once its body is open.
function Operator:opened(request, kind, caller, opened)
	local path = kind == "derive" and "access.derive" or "access.data"
	if not self.policy:wants(path) then return nil end
	local asked = facts.opened(self.node, request, kind, caller, opened)
	return answer(self, request, self.policy:verdict(path, asked), asked)
end

--- A request that has a route: nothing where it may go on, else the answer.
function Operator:admit(request, route)
	return self.routes:admit(self.node, request, route)
end

-- ---- peers ---------------------------------------------------------------------------------------

--- Milliseconds until a peer is tried again that could not be reached. Up to a quarter more or less,
-- by chance: not everybody shall call at once.
function Operator:backoff_ms(peer)
	local seconds = math.min(self.policy:backoff(facts.peer(peer), peer.failures), MAX_BACKOFF_S)
	return math.floor(seconds * 1000 * (0.75 + math.random() / 2))
end

--- Those of a list of peers that changes are pushed to, in this order.
function Operator:order(peers)
	if not self.policy:wants("sync.peers") or #peers > MAX_KNOWN_PEERS then return peers end
	local known, chosen = {}, {}
	for _, peer in ipairs(peers) do known[peer.wallet] = peer end
	for i, asked in ipairs(self.policy:order(facts.peers(peers))) do chosen[i] = known[asked.wallet] end
	return chosen
end

--- Asks about each record of a message and marks those that are refused. Takes turns with others:
-- it may wait, where there are many.
-- @return whether it has waited
function Operator:accept(message, peer)
	if not self.policy:wants("sync.accept") then return false end
	local index, record, begun = 1, message:record(1), uv.hrtime()
	local since = begun
	while record do
		record.from, record.now = peer.wallet, self.node.wall_ms()
		if self.policy:accept(record) ~= true then message:refuse(index) end
		if uv.hrtime() - since > TURN_NS then
			loop.pause()
			since = uv.hrtime()
		end
		index = index + 1
		record = message:record(index)
	end
	return since ~= begun
end

--- Whether a peer may have the master secret; after every other check.
-- @param instance what the chain says of it now; @param attestation verified facts, or nil
-- @return true | nil, message, code, seconds to wait
function Operator:release_secret(peer, instance, attestation)
	if not self.policy:wants("sync.release_secret") then return true end
	local verdict = self.policy:release_secret(facts.peer(peer, instance), attestation)
	if verdict == true then return true end
	self.log:warn("master secret not handed to a peer", {
		peer = peer.wallet, rule = verdict.rule, reason = verdict.reason,
	})
	return nil, verdict.reason, verdict.code, verdict.retry_after
end

--- Tells kms.peers() who is there.
function Operator:know_peers(peers)
	local list = table.move(peers, 1, math.min(#peers, MAX_KNOWN_PEERS), 1, {})
	local ok, message = self.policy:provide_peers(facts.peers(list))
	if not ok then self.log:limited("kms.peers", 60, "warn", "policies do not see the peers", { cause = message }) end
end

-- ---- settings, reload, status ----------------------------------------------------------------------

-- What comes into force with a set of policies.
local function apply(self)
	self.routes:rebuild()
	self.settings = self.policy:sync_settings(self.config)
	local _, exempt = self.policy:ban_rules()
	for wallet in pairs(exempt) do self.node.bans:lift(wallet) end
	if self.push then self:push_every(self.push) end
end

--- Reads the policies again; on any mistake nothing changes.
-- @param by "signal", "command" or "file"
-- @return true, whether anything is different | nil, list of mistakes, one line each
function Operator:reload(by)
	local ok, changed = self.policy:reload(by)
	if ok and changed then apply(self) end
	return ok, changed
end

local function poll(self)
	local ok, changed = self.policy:poll()
	if ok and changed then apply(self) end
end

--- Calls `push` as often as sync.lua says, from now on.
function Operator:push_every(push)
	local every_ms = math.floor(self.settings.interval * 1000)
	self.push = push
	if self.pushing_ms == every_ms then return end
	loop.close(self.pushing)
	self.pushing, self.pushing_ms = loop.every(every_ms, push), every_ms
end

--- Takes up changes from now on: by SIGHUP, and of the files.
function Operator:watch()
	loop.on_signal("sighup", function() self:reload("signal") end)
	loop.every(POLL_MS, function() poll(self) end)
end

-- Where files lie is nobody's business (docs/protocol.md section 2); which, and the line, is.
local function without_folders(self, text)
	for _, dir in ipairs({ self.config.POLICY_DIR, self.shipped }) do
		if text:sub(1, #dir + 1) == dir .. "/" then return text:sub(#dir + 2) end
	end
	return text
end

-- Rules that decide, and how often they did. What they are for and where they stand is the operator's.
local function hits(self)
	local list = {}
	for _, rule in ipairs(self.policy:list_rules()) do
		if rule.hook:find("^routes%.%d") == nil then
			local name = rule.hook == rule.name and rule.name or rule.hook .. "/" .. rule.name
			list[#list + 1] = { name = name, passed = rule.passed, refused = rule.refused, failed = rule.failed }
		end
	end
	return #list > 0 and list or nil
end

--- For /status.
function Operator:status()
	local status = self.policy:status()
	if status.last_error then status.last_error.first = without_folders(self, status.last_error.first) end
	status.rules = hits(self)
	return status
end

--- The routes of the node under its policies; once the node has all its parts.
-- @param own list of routes (kms.http.router)
function Operator:take_routes(own)
	self.routes = routes_of.new(self.policy, self.config, own)
end

--- Opens the policies of a node that has config, log, store, clocks. Makes node.policy and
-- node.operator.
-- @param shipped folder of the shipped policies
-- @return true | nil, list of mistakes, one line each
function M.open(node, shipped, native)
	local config = node.config
	local opened, mistakes = policy.open({
		native = native, dir = config.POLICY_DIR, shipped = shipped, wall_ms = node.wall_ms, mono_ms = node.mono_ms,
		log = node.log, store = node.store,
	})
	if not opened then return nil, mistakes end
	node.policy = opened
	node.operator = setmetatable({
		node = node, policy = opened, config = config, log = node.log, shipped = shipped,
		settings = opened:sync_settings(config),
	}, Operator)
	return true
end

return M
