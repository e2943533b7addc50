--- The rules of a set: name, description, place, and how often each passed, refused or failed, or would have refused
-- had it not been suspended.

local hooks = require("kms.policy.hooks")

local M = {}

local HitCounts = {}
HitCounts.__index = HitCounts

-- Adds a rule. `number`: of the rule in the list of hook `path`; nil: the hook as a whole.
local function add(self, path, number, rule)
	rule.number, rule.passed, rule.refused, rule.failed, rule.let_through = number, 0, 0, 0, 0
	-- A rule of a list may have the name of its hook, which is another rule.
	rule.full_name = not number and rule.hook == rule.name and rule.name or rule.hook .. "/" .. rule.name
	self.entries[#self.entries + 1] = rule
	self.by_path[path] = self.by_path[path] or {}
	self.by_path[path][number or 0] = rule
end

-- Adds a hook and, when it is a list, its rules.
local function add_hook(self, set, path)
	local name, key = path:match("^(%a+)%.(.*)$")
	local value, source = set.data[name][key], set.sources[name]
	add(self, path, nil, {
		hook = path, name = path, description = hooks.HOOKS[path].about, path = source.path, source = source.text,
		line = set:line(name, "." .. key),
	})
	if type(value) ~= "table" then return end
	for i, rule in ipairs(value) do
		add(self, path, i, {
			hook = path, name = rule.name, description = rule.description, path = source.path, source = source.text,
			line = set:line(name, (".%s[%d]"):format(key, i)),
		})
	end
end

-- Adds a rule of blacklist.lua, or a route of routes.lua.
local function add_listed(self, set, name, path, rule, place)
	add(self, path, nil, {
		is_route = path:find("^routes%.%d") ~= nil,
		hook = path, name = rule.name or rule.event or rule.handler, description = rule.description,
		path = set.sources[name].path, source = set.sources[name].text, line = set:line(name, place),
	})
end

local function rule_of(self, path, number)
	local entries = self.by_path[path]
	return entries and (entries[number or 0] or entries[0])
end

--- Counts a call.
-- @param path of the hook
-- @param number of the rule that decided in the hook's list, or nil for the hook as a whole
-- @param outcome "passed", "refused", "failed" or "let_through"
-- @param mono_ms monotonic time; nil with "passed", which is no hit
function HitCounts:count(path, number, outcome, mono_ms)
	local rule = rule_of(self, path, number)
	if not rule then return end
	rule[outcome], rule.hit_ms = rule[outcome] + 1, mono_ms or rule.hit_ms
end

--- Name of a rule: the path of its hook and, for a rule of a list, a slash and its own name.
-- @param path, number as count takes them
function HitCounts:name(path, number)
	local rule = number and rule_of(self, path, number)
	return rule and rule.full_name or path
end

--- All rules, in the order of the files.
-- @return list of { hook, number (in a list of rules, or nil), name, full_name (unique), description (or nil), path and
--   source (of the file: where it is, its text), line (or nil), passed, refused, failed, let_through, hit_ms (monotonic
--   time of the last refusal, failure or letting through; nil: none), is_route (of routes.lua: nothing is counted) }
function HitCounts:list()
	return self.entries
end

--- @param set      the operator's (kms.policy.set)
-- @param shipped  the shipped one, whose members are used when the operator's has none
function M.new(set, shipped)
	local self = setmetatable({ entries = {}, by_path = {} }, HitCounts)
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
