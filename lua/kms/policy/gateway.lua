--- Asks the operator's policies, and turns their verdicts into replies. It is asked after the node's own
-- checks, so a verdict can only narrow what is allowed. A hook that no policy defines costs nothing.

local err = require("kms.base.err")
local facts = require("kms.policy.facts")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local uv = require("luv")

local M = {}

local Gateway = {}
Gateway.__index = Gateway

local SLICE_NS = 2000000 -- longest time on records before other coroutines run
local MAX_BACKOFF_S = 86400
local MAX_KNOWN_PEERS = 1000 -- that kms.peers() lists and sync.peers orders

-- ---- requests of applications --------------------------------------------------------------------

-- Names are confidential (docs/protocol.md section 12): a reason that repeats one is logged as its hash.
local function loggable(log, reason, asked)
	for _, name in ipairs({ asked.path or "", asked.context or "", asked.key or "" }) do
		if reason and name ~= "" and reason:find(name, 1, true) then return log:name(reason) end
	end
	return reason
end

-- The reply to a refused request; nil when the verdict is to go on. `suspended`: as of kms.policy's verdict.
local function refusal(self, inbound, asked, verdict, suspended)
	inbound.suspended_rule = inbound.suspended_rule or suspended
	if verdict == true then return nil end
	inbound.rule, inbound.reason = verdict.rule, loggable(self.log, verdict.reason, asked)
	return err.reply(verdict.code, verdict.reason, verdict.retry_after and { ["Retry-After"] = verdict.retry_after })
end

--- Asks about an authorized request, before its body is read.
-- @param inbound kms.http.inbound; sets its rule, reason and suspended_rule
-- @param operation "derive", "get", "list", "put", "delete", or "session": a session is to be opened
-- @param caller kms.auth.authenticate
-- @return nil to go on, or the reply that refuses it
function Gateway:request(inbound, operation, caller)
	if not self.policy:wants("access.request") then return nil end
	local asked = facts.request(inbound, operation, caller, self.wall_ms())
	return refusal(self, inbound, asked, self.policy:request(asked))
end

--- Asks about the same request once its body is open.
-- @param opened the opened body (native request)
-- @return as request
function Gateway:opened(inbound, operation, caller, opened)
	local hook = operation == "derive" and "access.derive" or "access.data"
	if not self.policy:wants(hook) then return nil end
	local asked = facts.opened(inbound, operation, caller, opened, self.wall_ms())
	return refusal(self, inbound, asked, self.policy:verdict(hook, asked))
end

-- ---- peers ---------------------------------------------------------------------------------------

--- Milliseconds until an unreachable peer is called again. Random by a quarter either way, so that
-- nodes do not all call at once.
function Gateway:backoff_ms(peer)
	local seconds = math.min(self.policy:backoff(facts.peer(peer), peer.failures), MAX_BACKOFF_S)
	return math.floor(seconds * 1000 * (0.75 + math.random() / 2))
end

--- Chooses the peers to push changes to, in order.
-- @param peers list of kms.peers
-- @return list of some or all of them
function Gateway:order(peers)
	if not self.policy:wants("sync.peers") or #peers > MAX_KNOWN_PEERS then return peers end
	local known, chosen = {}, {}
	for _, peer in ipairs(peers) do known[peer.wallet] = peer end
	for i, asked in ipairs(self.policy:order(facts.peers(peers))) do chosen[i] = known[asked.wallet] end
	return chosen
end

--- Asks about each record of a message and marks the refused ones. Yields when there are many.
-- @return whether it has yielded
function Gateway:accept(message, peer)
	if not self.policy:wants("sync.accept") then return false end
	local index, record, began = 1, message:record(1), uv.hrtime()
	local slice_began = began
	while record do
		record.from, record.now = peer.wallet, self.wall_ms()
		if self.policy:accept(record) ~= true then message:refuse(index) end
		if uv.hrtime() - slice_began > SLICE_NS then
			loop.pause()
			slice_began = uv.hrtime()
		end
		index = index + 1
		record = message:record(index)
	end
	return slice_began ~= began
end

--- Asks whether a peer may have the master secret, after every other check.
-- @param instance the peer's registration as the chain has it now
-- @param attestation verified facts, or nil
-- @return true | nil, message, code, seconds to wait
function Gateway:release_secret(peer, instance, attestation)
	if not self.policy:wants("sync.release_secret") then return true end
	local verdict = self.policy:release_secret(facts.peer(peer, instance), attestation)
	if verdict == true then return true end
	self.log:warn("master secret not handed to a peer", {
		peer = peer.wallet, rule = verdict.rule, reason = verdict.reason,
	})
	return nil, verdict.reason, verdict.code, verdict.retry_after
end

--- Gives kms.peers() its list.
function Gateway:know_peers(peers)
	local list = table.move(peers, 1, math.min(#peers, MAX_KNOWN_PEERS), 1, {})
	local ok, message = self.policy:provide_peers(facts.peers(list))
	if not ok then self.log:limited("kms.peers", 60, "warn", "policies do not see the peers", { cause = message }) end
end

--- @param deps policy (kms.policy), log, wall_ms
function M.new(deps)
	return setmetatable(needs.take(deps, "policy log wall_ms"), Gateway)
end

return M
