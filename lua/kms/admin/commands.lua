--- What can be asked on the control socket. Names of commands are paths; none has a body.
--
--   GET /status              what GET /status of the node says, and what concerns its operator
--   GET /peers               members of the cluster as this node knows them
--   GET /bans                bans in force
--   DELETE /bans/<wallet>    lifts all bans of a peer
--   POST /reload             reads the policies again
--   POST /drain              stops accepting, finishes what runs, ends the process
--   GET /loglevel            PUT /loglevel/<level>

local cjson = require("cjson")
local err = require("kms.base.err")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local native = require("kms_native")
local public_routes = require("kms.routes.public")

local M = {}

local HEADERS = { ["Content-Type"] = "application/json" }
local MAX_MISTAKES = 20

local function reply(value, outcome, status)
	return { status = status or 200, headers = HEADERS, body = json.encode(value), outcome = outcome }
end

local function or_null(value)
	if value == nil then return cjson.null end
	return value
end

local function status(node)
	local page = public_routes.status(node)
	local connections, running = node.server:counts()
	page.control = {
		version = native.version, log_level = node.log:level(), draining = node.stopping, connections = connections,
		requests_running = running, errors_caught = loop.errors(),
	}
	return reply(page)
end

-- Bans in force, with when they end on the node's clock.
local function list_bans(node)
	local now, wall = node.mono_ms(), node.wall_ms()
	local list = {}
	for i, ban in ipairs(node.bans:list(now)) do
		list[i] = {
			wallet = ban.wallet, scope = ban.scope, event = ban.event, rule = or_null(ban.rule),
			since_ms = or_null(ban.since_ms and wall - (now - ban.since_ms)), until_ms = wall + ban.until_ms - now,
			left_s = (ban.until_ms - now + 999) // 1000,
		}
	end
	return list
end

local function bans(node)
	return reply({ bans = json.list(list_bans(node)) })
end

local function lift(node, rest)
	local wallet = native.address(rest)
	if not wallet then return err.reply("ERR_BAD_REQUEST", "not a wallet: 0x and 40 hexadecimal digits are") end
	local lifted = node.bans:lift(wallet)
	return reply({ wallet = wallet, lifted = lifted }, lifted and "lifted" or "nothing to lift")
end

local function peer_entry(node, instance, pushed, banned)
	local peer = node.peers:peer(instance.wallet)
	return {
		wallet = instance.wallet, url = instance.url, state = (node.peers:state(instance.wallet)),
		acknowledged = or_null(pushed and pushed.acknowledged), skipped = or_null(pushed and pushed.skipped),
		failures = or_null(peer and peer.failures), bans = json.list(banned or {}),
	}
end

local function peers(node)
	local pushed, banned, list = node.pusher:status(), {}, {}
	for _, ban in ipairs(list_bans(node)) do
		banned[ban.wallet] = banned[ban.wallet] or {}
		table.insert(banned[ban.wallet], ban)
	end
	for i, instance in ipairs(node.peers:list()) do
		list[i] = peer_entry(node, instance, pushed.peers[instance.wallet], banned[instance.wallet])
	end
	return reply({ sequence = pushed.sequence, peers = json.list(list) })
end

local function reload(node)
	local ok, outcome = node.operator:reload("command")
	if ok then
		return reply({ reloaded = true, changed = outcome, hash = node.policy:status().hash },
			outcome and "in force" or "no change")
	end
	local mistakes = table.move(outcome, 1, math.min(#outcome, MAX_MISTAKES), 1, {})
	return reply({
		reloaded = false, mistakes = json.list(mistakes), hash = node.policy:status().hash,
		code = "bad_request", message = mistakes[1],
	}, "refused", 400)
end

-- The answer goes out first: it is one of the requests that run.
local function drain(node)
	local _, running = node.server:counts()
	loop.defer(function() node.on_drain() end)
	return reply({ draining = true, requests_running = running }, "draining", 202)
end

local function log_level(node)
	return reply({ level = node.log:level() })
end

local function set_log_level(node, rest)
	local before = node.log:level()
	local ok, message = node.log:set_level(rest)
	if not ok then return err.reply("ERR_BAD_REQUEST", message) end
	return reply({ level = rest, before = before })
end

--- For kms.http.router; `reads`: changes nothing.
function M.routes()
	return {
		{ name = "status", method = "GET", path = "/status", handler = status, reads = true },
		{ name = "peers", method = "GET", path = "/peers", handler = peers, reads = true },
		{ name = "bans", method = "GET", path = "/bans", handler = bans, reads = true },
		{ name = "lift", method = "DELETE", prefix = "/bans/", handler = lift },
		{ name = "reload", method = "POST", path = "/reload", handler = reload },
		{ name = "drain", method = "POST", path = "/drain", handler = drain },
		{ name = "loglevel", method = "GET", path = "/loglevel", handler = log_level, reads = true },
		{ name = "set loglevel", method = "PUT", prefix = "/loglevel/", handler = set_log_level },
	}
end

return M
