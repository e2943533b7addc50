--- Operator policies in force: calls of hooks, reload, and what can be seen of both.
--
-- A set is built aside and swapped in at once; anything wrong with it keeps the old one. A hook
-- that fails refuses where only that is safe (kms.policy.hooks: closed), and gives way to the
-- shipped default elsewhere. Nothing here can widen what the protocol allows: callers ask after
-- their own checks, and an answer can only stop them.

local asking = require("kms.policy.call")
local counters = require("kms.policy.counters")
local files = require("kms.base.files")
local rules = require("kms.policy.hit_counts")
local schema = require("kms.policy.schema")
local set = require("kms.policy.set")
local sources = require("kms.policy.sources")
local view = require("kms.policy.inspect")

local M = {}

local Policy = {}
Policy.__index = Policy
for name, method in pairs(view) do Policy[name] = method end

local BUCKETS = 65536 -- of kms.limit, all keys together
local MAX_CHANGES = 32

-- What a status that a policy gives is on the wire.
local CODES = { [403] = "ERR_POLICY", [429] = "ERR_RATE", [503] = "ERR_BUSY" }

-- ---- loading ---------------------------------------------------------------------------------

local function marks_of(self)
	local parts = {}
	for i, name in ipairs(schema.NAMES) do
		parts[i] = self.dir and files.version(self.dir .. "/" .. name .. ".lua") or "-"
	end
	return table.concat(parts, " ")
end

local function read_and_build(self)
	local read, mistakes = sources.read(self.dir, self.shipped_dir)
	local built, more = set.build(read, self.options)
	for _, mistake in ipairs(more or {}) do mistakes[#mistakes + 1] = mistake end
	if #mistakes == 0 then return built end
	return nil, sources.lines(mistakes)
end

local function note_change(self, entry)
	table.insert(self.changes, entry)
	if #self.changes > MAX_CHANGES then table.remove(self.changes, 1) end
end

local function keep_old(self, by, errors)
	self.last_error = { at_ms = self.wall_ms(), by = by, errors = errors }
	note_change(self, { at_ms = self.wall_ms(), by = by, error = errors[1] })
	if self.log and self.set then
		self.log:error("policies not taken: the old ones stay", { by = by, mistakes = #errors, first = errors[1] })
	end
	return nil, errors
end

--- Reads the folder again and puts the new set in force, if nothing is wrong with it.
-- @param by "start", "signal", "command" or "file"
-- @return true, whether anything is different | nil, list of mistakes, one line each
function Policy:reload(by)
	self.marks = marks_of(self)
	local built, errors = read_and_build(self)
	if not built then return keep_old(self, by, errors) end
	self.last_error = nil
	local old = self.set
	if old and old.hash == built.hash then
		built.vm:close()
		return true, false
	end
	self.set, self.since_ms, self.by = built, self.wall_ms(), by
	asking.forget(self)
	self.rules = rules.new(built, self.shipped)
	if self.peers_facts then built.vm:provide("peers", self.peers_facts) end
	note_change(self, { at_ms = self.since_ms, by = by, hash = built.hash })
	if old then old.vm:close() end
	if self.log then self.log:info("policies in force", { hash = built.hash, by = by }) end
	return true, true
end

--- Reloads when a file has changed since the last attempt.
-- @return as reload; or true, false
function Policy:poll()
	if marks_of(self) == self.marks then return true, false end
	return self:reload("file")
end

-- ---- calls -------------------------------------------------------------------------------------

--- Whether a hook would do anything: to skip the gathering of its facts.
function Policy:wants(path)
	local wanted = self.wanted[path]
	if wanted == nil then
		wanted = self.set:has(path) or self.shipped:has(path)
		self.wanted[path] = wanted
	end
	return wanted
end

--- Asks a hook that gives a verdict.
-- @return true to go on; or the refusal { status, code, reason (or nil), retry_after (or nil),
--         rule (its name), failed (the hook did, not decide) }
function Policy:verdict(path, ...)
	local result, rule = asking.ask(self, path, "verdict", ...)
	if result == nil then return { status = 403, code = "ERR_POLICY", failed = true, rule = path } end
	self.rules:count(path, rule, result == true and "passed" or "refused")
	if result == true then return true end
	result.code, result.rule = CODES[result.status], self.rules:name(path, rule)
	return result
end

--- access.lua: an authorised request; for derive and data the hook of the route besides.
-- @param facts as kms.policy.hooks lists them
-- @return as verdict
function Policy:request(facts) return self:verdict("access.request", facts) end
function Policy:derive(facts) return self:verdict("access.derive", facts) end
function Policy:data(facts) return self:verdict("access.data", facts) end

--- sync.lua: whether a record of a peer is taken; whether a peer gets the master secret.
function Policy:accept(record) return self:verdict("sync.accept", record) end
function Policy:release_secret(peer, attestation) return self:verdict("sync.release_secret", peer, attestation) end

--- sync.lua: seconds until a peer is tried again after `failures` in a row.
function Policy:backoff(peer, failures)
	local seconds = asking.ask(self, "sync.backoff", "number", peer, failures)
	return type(seconds) == "number" and seconds or 60
end

--- sync.lua: to whom to push, in order. Wallets that are not in `list` do not count, a wallet
-- counts once.
-- @param list of peers' facts
-- @return list of members of `list`
function Policy:order(list)
	local wallets = asking.ask(self, "sync.peers", "list", list)
	if type(wallets) ~= "table" then return list end
	local by_wallet, chosen = {}, {}
	for _, peer in ipairs(list) do by_wallet[peer.wallet] = peer end
	for _, wallet in ipairs(wallets) do
		chosen[#chosen + 1], by_wallet[wallet] = by_wallet[wallet], nil
	end
	return chosen
end

--- blacklist.lua: what its `decide` says about an event, for kms.peers.bans.
-- @return { seconds, scope } or nil for the rules
function Policy:decide_ban(event)
	local result = asking.ask(self, "blacklist.decide", "ban", event)
	if type(result) ~= "table" then return nil end
	-- Only what the peer's own envelope proves may silence it (docs/protocol.md section 11).
	if result.scope == "all" and not schema.EVENTS[event.event] then result.scope = "calls" end
	return result
end

--- routes.lua: what an extra route answers.
-- @param number of the route in extra_routes()
-- @return table for JSON | nil where its handler failed
function Policy:extra(number, facts)
	local path = ("routes.extra.%d.handler"):format(number)
	local result = asking.ask(self, path, "data", facts)
	if type(result) ~= "table" then return nil end
	self.rules:count(path, nil, "passed")
	return result
end

--- What kms.peers() answers from now on: list of peers' facts.
-- @return true | nil, message: there are too many; then the list before stays
function Policy:provide_peers(list)
	local ok, message = self.set.vm:provide("peers", list)
	if not ok then return nil, message end
	self.peers_facts = list
	return true
end

--- @param options  native, wall_ms, mono_ms (functions); dir (nil: shipped policies); shipped: folder of
--   the defaults; log (kms.base.log) or nil; store (native) or nil; trace: see policy_vm
-- @return policy | nil, list of mistakes, one line each
function M.open(options)
	local self = setmetatable({
		dir = options.dir, shipped_dir = options.shipped, log = options.log, wall_ms = options.wall_ms,
		mono_ms = options.mono_ms, counters = counters.new(), own_counters = counters.new(), changes = {},
		options = {
			native = options.native, store = options.store, buckets = assert(options.native.policy_buckets(BUCKETS)),
			trace = options.trace,
		},
	}, Policy)
	asking.setup(self)
	local shipped, mistakes = set.build(sources.read(nil, self.shipped_dir), self.options)
	if not shipped then return nil, sources.lines(mistakes) end
	self.shipped = shipped
	local ok, errors = self:reload("start")
	if not ok then return nil, errors end
	return self
end

return M
