--- The operator's policies in force: reload, and one method for each hook.
--
-- A set is built aside and replaces the one in force at once; a set with any mistake is not used. A hook that
-- fails refuses when only that is safe (`closed` in kms.policy.hooks); otherwise the shipped hook decides. A
-- policy can only refuse what the protocol allows: callers make their own checks first.

local call = require("kms.policy.call")
local changes = require("kms.policy.changes")
local counters = require("kms.policy.counters")
local files = require("kms.base.files")
local hit_counts = require("kms.policy.hit_counts")
local inspect = require("kms.policy.inspect")
local needs = require("kms.base.needs")
local schema = require("kms.policy.schema")
local set = require("kms.policy.set")
local sources = require("kms.policy.sources")
local suspensions = require("kms.policy.suspensions")

local M = {}

local Policy = {}
Policy.__index = Policy
for name, method in pairs(inspect) do Policy[name] = method end

local BUCKETS = 65536 -- of kms.limit, for all keys together

-- Error codes of the statuses that a verdict can have.
local CODES = { [403] = "ERR_POLICY", [429] = "ERR_RATE", [503] = "ERR_BUSY" }

-- ---- loading ---------------------------------------------------------------------------------

-- Changes when one of the four files changes.
local function versions_of(self)
	local parts = {}
	for i, name in ipairs(schema.NAMES) do
		parts[i] = self.dir and files.version(self.dir .. "/" .. name .. ".lua") or "-"
	end
	return table.concat(parts, " ")
end

local function folder_version(self)
	return self.dir and files.version(self.dir)
end

-- Whether the next attempt may end otherwise than the last one. A mistake can also be about the folder, or about a file
-- in it that is none of the four.
local function may_differ(self)
	return versions_of(self) ~= self.versions or self.last_error ~= nil and folder_version(self) ~= self.folder_version
end

-- What was read from the folder must still be there, unless the operator says so by command: a file that goes
-- away for a moment, or with a folder that is renamed, must not put the shipped policies in force.
local function read_and_build(self, by)
	local in_force = self.set and self.set.sources
	local has_own = false
	for _, source in pairs(in_force or {}) do has_own = has_own or not source.shipped end
	local read, mistakes = sources.read(self.dir, self.shipped_dir, {
		required = self.required or has_own, was = by ~= "command" and in_force or nil,
	})
	local built, more = set.build(read, self.set_options)
	for _, mistake in ipairs(more or {}) do mistakes[#mistakes + 1] = mistake end
	if #mistakes == 0 then return built end
	return nil, sources.mistake_lines(mistakes)
end

local function keep_old(self, by, lines)
	self.last_error = { at_ms = self.wall_ms(), by = by, lines = lines }
	self.changes:add(self.wall_ms(), by, "refused", self.set and self.set.hash, lines[1])
	if self.log and self.set then
		self.log:error("policies not taken: the old ones stay", { by = by, mistakes = #lines, first = lines[1] })
	end
	return nil, lines
end

--- Reads the folder again and puts the new set in force, unless it has a mistake. A missing file is one, when the
-- set in force has it, except by "command".
-- @param by "start", "signal", "command" or "file"
-- @return true, whether anything changed | nil, list of mistakes, one line each
function Policy:reload(by)
	self.versions, self.folder_version = versions_of(self), folder_version(self)
	local built, lines = read_and_build(self, by)
	if not built then return keep_old(self, by, lines) end
	self.last_error = nil
	local old = self.set
	if old and old.hash == built.hash then
		built.vm:close()
		self.changes:add(self.wall_ms(), by, "unchanged", old.hash)
		return true, false
	end
	self.set, self.since_ms, self.by = built, self.wall_ms(), by
	self.hit_counts = hit_counts.new(built, self.shipped)
	self.calls:use(built, self.hit_counts)
	self.suspensions:use(self.hit_counts:list(), built.hash)
	self.changes:add(self.since_ms, by, "in_force", built.hash)
	if old then old.vm:close() end
	if self.log then self.log:info("policies in force", { hash = built.hash, by = by }) end
	return true, true
end

--- Reloads when a file has changed since the last attempt (after a mistake: when anything in the folder has), and ends
-- suspensions whose time is over.
-- @return as reload; or true, false
function Policy:poll()
	self:end_suspensions()
	if not may_differ(self) then return true, false end
	return self:reload("file")
end

--- Ends suspensions whose time is over.
function Policy:end_suspensions()
	self.suspensions:expire()
end

-- ---- calls -------------------------------------------------------------------------------------

--- Whether a hook exists. If not, its facts need not be gathered.
-- @param path of the hook ("access.derive")
function Policy:wants(path)
	local wanted = self.calls.wanted[path]
	if wanted == nil then return self.calls:wants(path) end
	return wanted
end

-- Counts what suspended rules of a hook, or the hook itself where there are none, would have refused.
-- Returns the name of the first one.
local function count_through(self, path, numbers)
	for i = 1, math.max(#numbers, 1) do self:count_hit(path, numbers[i], "let_through") end
	return self.hit_counts:name(path, numbers[1])
end

--- Calls a hook that gives a verdict.
-- @param path of the hook
-- @param ... its arguments (kms.policy.hooks)
-- @return true to go on, name of the first suspended rule that refused (or nil) | the refusal { status, code, reason
--   (or nil), retry_after (seconds, or nil), rule (name), failed (whether the hook failed instead of deciding) }
function Policy:verdict(path, ...)
	local verdict, number, through = self.calls:ask(path, "verdict", ...)
	if verdict == nil then return { status = 403, code = "ERR_POLICY", failed = true, rule = path } end
	local suspended = through and count_through(self, path, through)
	if verdict == true then
		if not suspended then self.hit_counts:count(path, nil, "passed") end
		return true, suspended
	end
	if not number and self.suspensions:has_whole(path) then return true, count_through(self, path, {}) end
	self:count_hit(path, number, "refused")
	verdict.code, verdict.rule = CODES[verdict.status], self.hit_counts:name(path, number)
	return verdict
end

--- Hooks of access.lua: `request` for each authorized request, then `derive` or `data`. Returns: as verdict.
function Policy:request(facts) return self:verdict("access.request", facts) end
function Policy:derive(facts) return self:verdict("access.derive", facts) end
function Policy:data(facts) return self:verdict("access.data", facts) end

--- Hooks of sync.lua: `accept` for each record of a peer; `release_secret` for a peer that asks for the master
-- secret, with the facts of its attestation document or nil. Returns: as verdict.
function Policy:accept(record) return self:verdict("sync.accept", record) end
function Policy:release_secret(peer, attestation) return self:verdict("sync.release_secret", peer, attestation) end

--- Hook sync.backoff.
-- @param peer facts
-- @param failures calls in a row that failed
-- @return seconds until the peer is called again
function Policy:backoff(peer, failures)
	local seconds = self.calls:ask("sync.backoff", "number", peer, failures)
	return type(seconds) == "number" and seconds or 60
end

--- Hook sync.peers: to whom to push, in order. Repeated wallets, and wallets that are not in `list`, are dropped.
-- @param list of peers' facts
-- @return list of members of `list`
function Policy:order(list)
	local wallets = self.calls:ask("sync.peers", "list", list)
	if type(wallets) ~= "table" then return list end
	local by_wallet, chosen = {}, {}
	for _, peer in ipairs(list) do by_wallet[peer.wallet] = peer end
	for _, wallet in ipairs(wallets) do
		chosen[#chosen + 1], by_wallet[wallet] = by_wallet[wallet], nil
	end
	return chosen
end

--- Hook blacklist.decide, for kms.peers.bans.
-- @param event facts
-- @return { seconds, scope } | nil: the rules decide
function Policy:decide_ban(event)
	local ban = self.calls:ask("blacklist.decide", "ban", event)
	if type(ban) ~= "table" then return nil end
	-- A peer's requests may be refused only for events that it alone can cause (docs/protocol.md section 11).
	if ban.scope == "all" and not schema.EVENTS[event.event] then ban.scope = "calls" end
	return ban
end

--- Calls the handler of an extra route of routes.lua.
-- @param number of the route in extra_routes()
-- @param facts of the node
-- @return table for JSON | nil: the handler failed
function Policy:extra(number, facts)
	local path = ("routes.extra.%d.handler"):format(number)
	local page = self.calls:ask(path, "data", facts)
	if type(page) ~= "table" then return nil end
	self.hit_counts:count(path, nil, "passed")
	return page
end

--- Sets what kms.peers() returns from now on.
-- @param list of peers' facts
-- @return true | nil, message: the list is too large, and the one before stays
function Policy:provide_peers(list)
	return self.calls:provide_peers(list)
end

--- Opens the policies and puts them in force.
-- @param deps native; shipped (folder of the shipped policies); wall_ms and mono_ms (clocks); dir (the operator's
--   folder; nil: the shipped policies), required (boolean: dir must be a folder), log (kms.base.log), store (native,
--   for kms.store) and trace (as of policy_vm), each or nil
-- @return policy | nil, list of mistakes, one line each
function M.open(deps)
	local taken = needs.take(deps, "native shipped wall_ms mono_ms", "dir required log store trace")
	local self = setmetatable({
		dir = taken.dir, required = taken.required, shipped_dir = taken.shipped, log = taken.log, wall_ms = taken.wall_ms,
		mono_ms = taken.mono_ms, counters = counters.new(), own_counters = counters.new(), changes = changes.new(),
		suspensions = suspensions.new({ mono_ms = taken.mono_ms, log = taken.log }),
		set_options = {
			native = taken.native, store = taken.store, buckets = assert(taken.native.policy_buckets(BUCKETS)),
			trace = taken.trace,
		},
	}, Policy)
	local shipped, mistakes = set.build(sources.read(nil, self.shipped_dir), self.set_options)
	if not shipped then return nil, sources.mistake_lines(mistakes) end
	self.shipped = shipped
	self.calls = call.new({
		shipped = shipped, counters = self.counters, own_counters = self.own_counters, log = self.log,
		suspensions = self.suspensions, wall_ms = self.wall_ms, mono_ms = self.mono_ms,
	})
	local ok, lines = self:reload("start")
	if not ok then return nil, lines end
	return self
end

return M
