--- What a hook said by kms.log and kms.count, carried out by the node.

local M = {}

local PREFIX = "policy_" -- so that no counter or field of a policy passes for one of the node's

local function log_line(policy, hook, note)
	if not policy.log or not policy.log:enabled(note.level) then return end
	local fields = { hook = hook, message = note.message }
	for name, value in pairs(note.fields) do fields[PREFIX .. name] = value end
	policy.log:log(note.level, "policy", fields)
end

--- Takes the notes of one call.
-- @param list of { level, message, fields } and { count, labels }; `dropped`: how many were too many
function M.take(policy, hook, list)
	for _, note in ipairs(list) do
		if note.count then policy.counters:add(PREFIX .. note.count, note.labels) else log_line(policy, hook, note) end
	end
	if list.dropped then policy.own_counters:add("notes_dropped", { hook = hook:gsub("%.", "_") }) end
end

return M
