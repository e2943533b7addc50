--- Carries out what a hook asked for with kms.log and kms.count.

local M = {}

local PREFIX = "policy_" -- keeps a policy's counters and log fields apart from the node's own

local function log_line(log, hook, effect)
	if not log or not log:enabled(effect.level) then return end
	local fields = { hook = hook, message = effect.message }
	for name, value in pairs(effect.fields) do fields[PREFIX .. name] = value end
	log:log(effect.level, "policy", fields)
end

--- Carries out the effects of one call.
-- @param into log (or nil), counters and own_counters (kms.policy.counters)
-- @param hook path of the hook
-- @param list of { level, message, fields } and { count, labels }; its field `dropped`: how many were too many
function M.apply(into, hook, list)
	for _, effect in ipairs(list) do
		if effect.count then
			into.counters:add(PREFIX .. effect.count, effect.labels)
		else
			log_line(into.log, hook, effect)
		end
	end
	if list.dropped then into.own_counters:add("notes_dropped", { hook = hook:gsub("%.", "_") }) end
end

return M
