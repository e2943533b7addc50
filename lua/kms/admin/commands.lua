--- The commands of the control socket. A command is a method and a path; none has a body.
--
--   GET /status              GET /status of the node, and what only its operator may see
--   GET /peers               members of the cluster, as this node knows them
--   GET /facts               what the status page shows (kms.admin.ui.facts)
--   GET /bans                bans in force
--   DELETE /bans/<wallet>    lifts all bans of a peer
--   POST /reload             reads the policies again
--   POST /drain              stops accepting, finishes the running requests, ends the process
--   GET /loglevel            PUT /loglevel/<level>
--   and those of kms.admin.snapshot_commands, kms.admin.audit_commands and kms.admin.policy_commands

local cjson = require("cjson")
local err = require("kms.base.err")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local native = require("kms_native")
local needs = require("kms.base.needs")
local audit_commands = require("kms.admin.audit_commands")
local policy_commands = require("kms.admin.policy_commands")
local snapshot_commands = require("kms.admin.snapshot_commands")

local M = {}

local Commands = {}
Commands.__index = Commands

local HEADERS = { ["Content-Type"] = "application/json" }
local MAX_MISTAKES = 20

-- @param outcome for the log, or nil
local function reply(value, outcome, status)
	return { status = status or 200, headers = HEADERS, body = json.encode(value), outcome = outcome }
end

local function or_null(value)
	if value == nil then return cjson.null end
	return value
end

local function status(self)
	local page = self.status:page()
	local connections, running = self.server:counts()
	page.control = {
		version = native.version, log_level = self.log:level(), draining = self.is_stopping(), connections = connections,
		requests_running = running, errors_caught = loop.errors(),
		snapshot = self.snapshots and self.snapshots:details(), audit = self.audit:details(),
	}
	return reply(page)
end

-- Bans in force, with their ends on the node's clock.
local function list_bans(self)
	local now, wall = self.mono_ms(), self.wall_ms()
	local list = {}
	for i, ban in ipairs(self.bans:list(now)) do
		list[i] = {
			wallet = ban.wallet, scope = ban.scope, event = ban.event, rule = or_null(ban.rule),
			since_ms = or_null(ban.since_ms and wall - (now - ban.since_ms)), until_ms = wall + ban.until_ms - now,
			left_s = (ban.until_ms - now + 999) // 1000,
		}
	end
	return list
end

local function bans(self)
	return reply({ bans = json.list(list_bans(self)) })
end

local function lift(self, rest)
	local wallet = native.address(rest)
	if not wallet then return err.reply("ERR_BAD_REQUEST", "not a wallet: one is 0x and 40 hexadecimal digits") end
	local lifted = self.bans:lift(wallet)
	return reply({ wallet = wallet, lifted = lifted }, lifted and "lifted" or "nothing to lift")
end

local function peer_entry(self, instance, pushed, repaired, banned)
	local peer = self.peers:peer(instance.wallet)
	return {
		wallet = instance.wallet, url = instance.url, state = (self.peers:state(instance.wallet)),
		acknowledged = or_null(pushed and pushed.acknowledged), skipped = or_null(pushed and pushed.skipped),
		later = or_null(pushed and pushed.later),
		failures = or_null(peer and peer.failures), repair = or_null(repaired), bans = json.list(banned or {}),
	}
end

--- The members, as this node knows them.
-- @return list of { wallet, url, state, acknowledged, skipped, later, failures, repair, bans }, the newest change
function Commands:members()
	local pushed, repaired, banned, list = self.pusher:status(), self.repair:status(), {}, {}
	for _, ban in ipairs(list_bans(self)) do
		banned[ban.wallet] = banned[ban.wallet] or {}
		table.insert(banned[ban.wallet], ban)
	end
	for i, instance in ipairs(self.peers:list()) do
		local wallet = instance.wallet
		list[i] = peer_entry(self, instance, pushed.peers[wallet], repaired[wallet], banned[wallet])
	end
	return json.list(list), pushed.sequence
end

local function peers(self)
	local list, sequence = self:members()
	return reply({ sequence = sequence, peers = list })
end

local function reload(self)
	local ok, changed = self.reloader:reload("command")
	local hash = self.policy:hash()
	if ok then return reply({ reloaded = true, changed = changed, hash = hash }, changed and "in force" or "no change") end
	local all = changed
	local mistakes = table.move(all, 1, math.min(#all, MAX_MISTAKES), 1, {})
	return reply({
		reloaded = false, mistakes = json.list(mistakes), hash = hash, code = "bad_request", message = mistakes[1],
	}, "refused", 400)
end

-- Deferred until the reply is sent: it belongs to a running request.
local function drain(self)
	local _, running = self.server:counts()
	loop.defer(self.on_drain)
	return reply({ draining = true, requests_running = running }, "draining", 202)
end

local function log_level(self)
	return reply({ level = self.log:level() })
end

local function set_log_level(self, rest)
	local before = self.log:level()
	local level, message = self.log:set_level(rest)
	if not level then return err.reply("ERR_BAD_REQUEST", message) end
	return reply({ level = level, before = before })
end

--- The commands, for kms.http.router. A command with `reads` changes nothing.
-- @return list of { name, method, path or prefix, handler (function(rest, caller, query) -> reply), reads, is_private:
--   its argument is not logged }
function Commands:routes()
	local function with(handler)
		return function(rest) return handler(self, rest) end
	end
	local own = {
		{ name = "status", method = "GET", path = "/status", handler = with(status), reads = true },
		{ name = "peers", method = "GET", path = "/peers", handler = with(peers), reads = true },
		{ name = "facts", method = "GET", path = "/facts", reads = true, handler = function()
			return reply(self.facts:read())
		end },
		{ name = "bans", method = "GET", path = "/bans", handler = with(bans), reads = true },
		{ name = "lift", method = "DELETE", prefix = "/bans/", handler = with(lift) },
		{ name = "reload", method = "POST", path = "/reload", handler = with(reload) },
		{ name = "drain", method = "POST", path = "/drain", handler = with(drain) },
		{ name = "loglevel", method = "GET", path = "/loglevel", handler = with(log_level), reads = true },
		{ name = "set loglevel", method = "PUT", prefix = "/loglevel/", handler = with(set_log_level) },
	}
	for _, more in ipairs({
		snapshot_commands.routes(self.snapshots), audit_commands.routes(self.audit, self.mono_ms),
		policy_commands.routes({ policy = self.policy, mono_ms = self.mono_ms, wall_ms = self.wall_ms }),
	}) do
		table.move(more, 1, #more, #own + 1, own)
	end
	return own
end

--- @param deps status (kms.routes.status); server (kms.http.server, the public one); peers, bans (kms.peers); pusher
-- (kms.sync.push); repair (kms.sync.repair); policy, reloader (kms.policy); log, mono_ms, wall_ms; is_stopping,
-- on_drain (functions); audit (kms.audit); facts (kms.admin.ui.facts); snapshots (kms.node.snapshots; nil: none)
function M.new(deps)
	return setmetatable(needs.take(deps,
		"status server peers bans pusher repair policy reloader log mono_ms wall_ms is_stopping on_drain audit facts",
		"snapshots"), Commands)
end

return M
