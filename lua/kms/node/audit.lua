--- The audit log of this node, made of its other parts.

local audit = require("kms.audit")

local M = {}

--- Adds parts.audit.
-- @param parts of kms.node.core
-- @return true | nil, message
function M.add(parts)
	local message
	parts.audit, message = audit.new({
		config = parts.config, tee = parts.tee, log = parts.log, wall_ms = parts.wall_ms, mono_ms = parts.mono_ms,
		policy_hash = parts.policy:hash(),
	})
	if not parts.audit then return nil, "audit log: " .. message end
	return true
end

--- To be called when a master secret has come into use.
-- @param secret handle; @param state, from of kms.node.master_secrets
function M.secret_in_use(parts, secret, state, from)
	parts.audit:use(secret)
	parts.audit:event("secret_in_use", { secret_hash = secret:keccak256(), state = state, from = from })
end

-- Adds a line about a suspension that has begun or ended. Returns whether there was room.
local function note_suspension(parts, change, after)
	local begun, ended = change.begun, change.ended
	if begun then
		return parts.audit:event("rule_suspended", {
			rule = begun.rule.full_name, seconds = change.seconds, why = begun.why, uid = begun.uid, after = after,
		}) == true
	end
	return parts.audit:event("rule_resumed", {
		rule = ended.rule.full_name, cause = ended.cause, uid = ended.ended_uid, after = after,
	}) == true
end

--- Has each change of the policies in force stand in the log. To be called when parts.reloader exists.
function M.watch_policies(parts)
	local before = parts.policy:hash()
	parts.reloader:on_change(function()
		local after = parts.policy:hash()
		parts.audit:event("policy", { before = before, after = after })
		before = after
	end)
	parts.policy.suspensions:on_change(function(change)
		local by_reload = change.ended and change.ended.cause == "reload" -- the line of the reload follows
		local after = not by_reload and parts.policy:hash() or nil
		local noted = note_suspension(parts, change, after)
		if noted or change.ended then before = after or before end
		return noted
	end)
end

return M
