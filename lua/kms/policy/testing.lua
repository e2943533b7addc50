--- Runs an operator's policies in their own specs (`nova-kms policy test`): real hooks, sample facts.
--
--   local p = require("kms.policy.testing").open()     -- the policies in the folder of the spec
--   assert.is_true(p:derive({ app_id = "7", path = "wallet/root" }))
--   assert.equal(403, p:derive({ app_id = "8" }).status)
--
-- A call's facts are put over the samples of kms.policy.hooks. Time stands still until p:advance(seconds).
-- p.lines holds what kms.log wrote. A hook that raises an error fails the spec.

local bans = require("kms.peers.bans")
local hooks = require("kms.policy.hooks")
local native = require("kms_native")
local policy = require("kms.policy")

local M = {}

local Testing = {}
Testing.__index = Testing

-- By route, the hook that is asked after access.request; false: none.
local ROUTES = { derive = "access.derive", get = "access.data", list = "access.data", put = "access.data",
	delete = "access.data", session = false }

-- Facts for an argument of a hook: its sample for given.route, or its first sample, with `given` put over it.
-- @param number of the argument
local function facts_of(self, path, number, given)
	local samples = hooks.HOOKS[path].samples
	local sample = samples[1]
	for _, candidate in ipairs(samples) do
		local fits = not given or not given.route or candidate[1].route == given.route
		if fits and candidate[number] and not (sample[number] and sample[1].route == candidate[1].route) then
			sample = candidate
		end
	end
	local facts = {}
	for name, value in pairs(sample[number] or {}) do facts[name] = value end
	for name, value in pairs(given or {}) do facts[name] = value end
	if facts.now then facts.now = self.now_ms end
	return facts
end

--- Advances the clocks.
function Testing:advance(seconds)
	self.now_ms = self.now_ms + seconds * 1000
end

-- Throws when the hook failed instead of deciding.
local function decided(self, verdict)
	if verdict ~= true and verdict.failed then error(self.failure or "a hook failed", 0) end
	return verdict
end

local function access(self, route, given)
	local facts = { route = route }
	for name, value in pairs(given or {}) do facts[name] = value end
	local request = {}
	local hook = ROUTES[route]
	local complete = facts_of(self, hook or "access.request", 1, facts)
	for _, name in ipairs(hooks.HOOKS["access.request"].facts) do request[name] = complete[name] end
	local verdict = self.policy:request(request)
	if verdict == true and hook then verdict = self.policy:verdict(hook, complete) end
	return decided(self, verdict)
end

--- A request of an application, as a node checks it: access.request, then the hook of its route. session: the opening
-- of a session, whose operations are asked about one by one, under their own routes.
-- @param facts put over the sample, or nil
-- @return true | the refusal { status, reason, retry_after (seconds), rule }
function Testing:derive(facts) return access(self, "derive", facts) end
function Testing:get(facts) return access(self, "get", facts) end
function Testing:list(facts) return access(self, "list", facts) end
function Testing:put(facts) return access(self, "put", facts) end
function Testing:delete(facts) return access(self, "delete", facts) end
function Testing:session(facts) return access(self, "session", facts) end

--- A record from a peer: sync.accept.
-- @return as derive
function Testing:accept(record)
	return decided(self, self.policy:accept(facts_of(self, "sync.accept", 1, record)))
end

--- A peer that asks for the master secret: sync.release_secret.
-- @param peer facts put over the sample, or nil
-- @param attestation facts of its document, put over the sample; nil: it sent none
-- @return as derive
function Testing:release_secret(peer, attestation)
	local facts = facts_of(self, "sync.release_secret", 1, peer)
	local document = attestation and facts_of(self, "sync.release_secret", 2, attestation)
	return decided(self, self.policy:release_secret(facts, document))
end

--- sync.backoff.
-- @return seconds until a peer is called again after `failures` in a row
function Testing:backoff(failures, peer)
	return self.policy:backoff(facts_of(self, "sync.backoff", 1, peer), failures)
end

--- sync.peers.
-- @param list of peers' facts { wallet =, rtt_ms =, ... }
-- @return wallets, in the order in which changes are pushed to them
function Testing:order(list)
	local wallets = {}
	for i, peer in ipairs(self.policy:order(list)) do wallets[i] = peer.wallet end
	return wallets
end

--- An event of a peer, for the rules and `decide` of blacklist.lua.
-- @return the ban that it led to { scope, event, seconds, rule } | nil
function Testing:event(wallet, event)
	local ban = self.bans:record(wallet, event, self.now_ms)
	if not ban or ban.since_ms ~= self.now_ms then return nil end
	return {
		scope = ban.scope, event = ban.event, rule = ban.rule, seconds = (ban.until_ms - ban.since_ms) // 1000,
	}
end

--- The reply of an extra route.
-- @param path of the route
-- @param facts of the node, put over the sample, or nil
-- @return table | nil: no such route, or its handler failed
function Testing:page(path, facts)
	for _, route in ipairs(self.policy:extra_routes({})) do
		if route.path == path then
			local node = {}
			for name, value in pairs(hooks.EXTRA.samples[1][1]) do node[name] = value end
			for name, value in pairs(facts or {}) do node[name] = value end
			return self.policy:extra(route.number, node)
		end
	end
	return nil
end

--- All rules, in the order of the files.
-- @return list of { hook, name, description, path, line, passed, refused, failed }
function Testing:rules()
	return self.policy:list_rules()
end

local function folder_of(level)
	local source = debug.getinfo(level + 1, "S").source
	return source:match("^@(.*)/[^/]*$") or "."
end

-- config/policy, beside the lua/ that holds this module.
local function shipped_folder()
	return (folder_of(1):gsub("lua/kms/policy$", "config/policy"))
end

-- A log that keeps the lines of hooks, and the cause of the last failure.
local function new_log(self)
	local log = {}
	function log.enabled() return true end
	function log.info() end
	function log.error() end
	function log.log(_, level, event, fields)
		self.lines[#self.lines + 1] = { level = level, event = event, fields = fields }
	end
	function log.name(_, text) return text end -- whoever runs a test may see what its policy says
	function log.limited(_, _, _, _, _, fields) self.failure = fields.cause end
	return log
end

--- Loads policies. Throws when they have mistakes, which it lists.
-- @param dir  their folder; nil: the folder of the calling file
-- @return testing
function M.open(dir)
	if not native.ready() then assert(native.init(8 << 20)) end
	local self = setmetatable({ now_ms = 1700000000000, lines = {} }, Testing)
	local function now() return self.now_ms end
	local opened, mistakes = policy.open({
		native = native, dir = dir or folder_of(2), shipped = shipped_folder(), wall_ms = now, mono_ms = now,
		log = new_log(self),
	})
	if not opened then error("the policies are not valid:\n" .. table.concat(mistakes, "\n"), 2) end
	self.policy = opened
	self.bans = bans.new({ policy = opened, ban_ms = 600000, wall_ms = now })
	return self
end

return M
