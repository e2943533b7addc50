--- The rules of a set: name, description, place and how often each passed, refused or failed.

local hooks = require("kms.policy.hooks")

local M = {}

local Rules = {}
Rules.__index = Rules

local function add(self, path, number, rule)
	rule.passed, rule.refused, rule.failed = 0, 0, 0
	self.entries[#self.entries + 1] = rule
	self.by_path[path] = self.by_path[path] or {}
	self.by_path[path][number or 0] = rule
end

local function add_hook(self, set, path)
	local name, key = path:match("^(%a+)%.(.*)$")
	local value, source = set.data[name][key], set.sources[name].path
	add(self, path, nil, {
		hook = path, name = path, description = hooks.HOOKS[path].about, path = source, line = set:line(name, "." .. key),
	})
	if type(value) ~= "table" then return end
	for i, rule in ipairs(value) do
		add(self, path, i, {
			hook = path, name = rule.name, description = rule.description, path = source,
			line = set:line(name, (".%s[%d]"):format(key, i)),
		})
	end
end

local function add_listed(self, set, name, path, rule, place)
	add(self, path, nil, {
		hook = path, name = rule.name or rule.event or rule.handler, description = rule.description,
		path = set.sources[name].path, line = set:line(name, place),
	})
end

--- Counts a call: outcome "passed", "refused" or "failed".
-- @param number of the rule in a list that decided, or nil for the hook as a whole
function Rules:count(path, number, outcome)
	local entries = self.by_path[path]
	local rule = entries and (entries[number or 0] or entries[0])
	if rule then rule[outcome] = rule[outcome] + 1 end
end

--- Name of a rule: the hook's path, behind a slash the rule's own name where it is one of a list.
function Rules:name(path, number)
	local entries = self.by_path[path]
	local rule = number and entries and entries[number]
	return rule and path .. "/" .. rule.name or path
end

--- All rules, in the order of the files: { hook, name, description, path, line, passed, refused, failed }.
function Rules:list()
	return self.entries
end

--- @param set      the operator's
-- @param shipped  the set whose members stand where the operator's has none
function M.new(set, shipped)
	local self = setmetatable({ entries = {}, by_path = {} }, Rules)
	for _, path in ipairs(hooks.paths()) do
		local chosen = set:has(path) and set or shipped
		if chosen:has(path) then add_hook(self, chosen, path) end
	end
	local bans = set.data.blacklist.rules and set or shipped
	for i, rule in ipairs(bans.data.blacklist.rules or {}) do
		add_listed(self, bans, "blacklist", "blacklist.rules." .. i, rule, (".rules[%d]"):format(i))
	end
	local listed = #set.data.routes > 0 and set or shipped
	for i, route in ipairs(listed.data.routes) do
		add_listed(self, listed, "routes", "routes." .. i, route, ("[%d]"):format(i))
	end
	for i, route in ipairs(set.data.routes.extra or {}) do
		add_listed(self, set, "routes", ("routes.extra.%d.handler"):format(i), route, (".extra[%d]"):format(i))
	end
	return self
end

return M
