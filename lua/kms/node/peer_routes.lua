--- Adds the parts of the node that serve other members: who they are, what is done for their messages, and the two
-- envelopes that carry these.

local callers = require("kms.sync.callers")
local member_sessions = require("kms.sync.member_sessions")
local replies = require("kms.sync.replies")
local serving = require("kms.sync.serving")
local sync_route = require("kms.sync.route")

local M = {}

local SECOND_MS = 1000

--- Adds replies, callers, serving, members, sync_route.
-- @param parts of kms.node.assemble, with nonces and sessions
function M.add(parts)
	parts.replies = replies.new({
		store = parts.store, log = parts.log, wall_ms = parts.wall_ms, mono_ms = parts.mono_ms, peers = parts.peers,
		writer = parts.writer, evidence = parts.evidence, gateway = parts.gateway, readiness = parts.readiness,
		config = parts.config, new_apps = parts.new_apps, existing = parts.existing, absence = parts.absence,
		audit = parts.audit, has_sessions = parts.has_peer_sessions,
	})
	parts.callers = callers.new({
		service = parts.service, peers = parts.peers, bans = parts.bans, readiness = parts.readiness,
		mono_ms = parts.mono_ms, wall_ms = parts.wall_ms,
	})
	parts.serving = serving.new({
		callers = parts.callers, peers = parts.peers, pusher = parts.pusher, replies = parts.replies,
		readiness = parts.readiness, secrets = parts.secrets, require_pop = parts.config.REQUIRE_POP,
		max_bytes = parts.config.MAX_SYNC_PAYLOAD_BYTES,
	})
	parts.members = member_sessions.new({
		sessions = parts.sessions, callers = parts.callers, serving = parts.serving, peers = parts.peers,
		readiness = parts.readiness, secrets = parts.secrets, mono_ms = parts.mono_ms, wall_ms = parts.wall_ms,
		window_ms = parts.config.POP_TIMEOUT_SECONDS * SECOND_MS, has_sessions = parts.has_peer_sessions,
	})
	parts.sync_route = sync_route.new({
		tee = parts.tee, peers = parts.peers, callers = parts.callers, serving = parts.serving, nonces = parts.nonces,
		readiness = parts.readiness, secrets = parts.secrets,
	})
end

return M
