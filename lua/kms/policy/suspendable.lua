--- Which rules can be suspended (kms.policy.suspensions).

local suggest = require("kms.base.suggest")

local M = {}

local MAX_LISTED = 600 -- bytes of names in a message

-- What refuses applications or records, and what bans. Not sync.release_secret: a master secret that was handed out
-- cannot be taken back.
local function may_be_suspended(rule)
	return rule.hook:find("^access%.") ~= nil or rule.hook == "sync.accept" or rule.hook:find("^blacklist%.rules%.") ~= nil
end

-- Names for a message, as many as have room.
local function names_of(rules)
	local text, count = nil, 0
	for _, rule in ipairs(rules) do
		local longer = text and text .. ", " .. rule.full_name or rule.full_name
		if #longer > MAX_LISTED then break end
		text, count = longer, count + 1
	end
	local left = #rules - count
	return (text or "none") .. (left > 0 and (" and %d more, see nova-kms policy show --socket"):format(left) or "")
end

--- The rule of a name.
-- @param rules list of kms.policy.hit_counts; @param name full_name of one
-- @return rule | nil, message: there is none, or it cannot be suspended
function M.find(rules, name)
	local names, allowed = {}, {}
	for _, rule in ipairs(rules) do
		if may_be_suspended(rule) then
			if rule.full_name == name then return rule end
			allowed[#allowed + 1], names[#names + 1] = rule, rule.full_name
		elseif rule.full_name == name then
			return nil, ("%s cannot be suspended: that is for rules of access.lua, sync.accept and blacklist.rules")
				:format(name)
		end
	end
	local near = suggest.nearest(name, names)
	return nil, ("there is no such rule%s; those that can be suspended: %s"):format(
		near and (", the nearest is %s"):format(near) or "", names_of(allowed))
end

return M
