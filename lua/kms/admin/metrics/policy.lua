--- Metrics of operators' policies: what they decided, and what they count themselves (kms.count).
--
-- A policy may put facts into labels: paths, keys, wallets, application ids, URLs. They are as confidential as in
-- a log: a value is shown only when the policy's own text has it as a constant or LOG_NAMES is true, else as a
-- keyed hash.

local metrics_text = require("kms.admin.metrics.text")
local needs = require("kms.base.needs")

local M = {}

local MAX_RULES = 500 -- names of rules that have a series of their own
local MAX_SERIES = 100 -- of one kms.count name
local MAX_FAMILIES = 200
local OUTCOMES = { "passed", "refused", "failed", "let_through" }
local WHY = { "overrun", "memory", "error", "nonsense", "resting" }
local PREFIX = "policy_" -- of kms.policy.effects
-- Facts that are not confidential.
local PLAIN = { derive = true, get = true, list = true, put = true, delete = true, ["true"] = true, ["false"] = true }

-- Whether a policy's text has a value as a constant.
local function is_constant(policy, value)
	for _, source in pairs(policy.set.sources) do
		local text = source.text
		if text:find('"' .. value .. '"', 1, true) or text:find("'" .. value .. "'", 1, true) then return true end
	end
	return false
end

-- A label's value as it may be shown, cached while the set is in force.
local function shown(self, policy, value)
	value = tostring(value)
	if self.hash ~= policy.set.hash or self.kept > 10000 then self.hash, self.known, self.kept = policy.set.hash, {}, 0 end
	local text = self.known[value]
	if text then return text end
	text = (PLAIN[value] or is_constant(policy, value)) and value or self.log:name(value)
	self.known[value], self.kept = text, self.kept + 1
	return text
end

-- The names of the labels of a family, sorted: every series of it has them all.
local function label_names(entries)
	local seen, names = {}, {}
	for _, entry in ipairs(entries) do
		for name in pairs(entry.labels) do
			name = tostring(name)
			if not seen[name] and metrics_text.is_label(name) then seen[name], names[#names + 1] = true, name end
		end
	end
	table.sort(names)
	return names
end

local function add(family, values, value)
	local key = table.concat(values, "\0")
	local series = family.by_key[key]
	if not series and #family.series >= MAX_SERIES then
		for i in ipairs(values) do values[i] = "other" end
		key = table.concat(values, "\0")
		series = family.by_key[key]
	end
	if not series then
		series = { labels = values, value = 0 }
		family.by_key[key], family.series[#family.series + 1] = series, series
	end
	series.value = series.value + value
end

local function family_of(self, policy, name, entries)
	local names = label_names(entries)
	local family = { kind = "counter", name = name, help = "Counted by a policy.", labels = {}, series = {}, by_key = {} }
	for i, label in ipairs(names) do family.labels[i] = { name = label } end
	for _, entry in ipairs(entries) do
		local values = {}
		for i, label in ipairs(names) do
			local value = entry.labels[label]
			values[i] = value ~= nil and shown(self, policy, value) or ""
		end
		add(family, values, entry.value)
	end
	return family
end

-- The sums of kms.count, one family for each name.
local function counted(self, policy)
	local by_name, families = {}, {}
	for _, entry in ipairs(policy.counters:list()) do
		local name = entry.name:sub(1, #PREFIX) == PREFIX and "kms_count_" .. entry.name:sub(#PREFIX + 1) .. "_total"
		if name and metrics_text.is_name(name) then
			if not by_name[name] then
				by_name[name] = {}
				families[#families + 1] = name
			end
			table.insert(by_name[name], entry)
		end
	end
	local list = {}
	for i = 1, math.min(#families, MAX_FAMILIES) do
		list[i] = family_of(self, policy, families[i], by_name[families[i]])
	end
	return list
end

local function of_own(policy, name, put)
	for _, entry in ipairs(policy.own_counters:list()) do
		if entry.name == name then put(entry.value, entry.labels.hook, entry.labels.why) end
	end
end

--- Declares them.
-- @param set kms.admin.metrics
-- @param deps policy (kms.policy), log
function M.declare(set, deps)
	deps = needs.take(deps, "policy log")
	local policy = deps.policy
	local self = { log = deps.log, known = {}, kept = 0 }
	set:read("counter", "kms_policy_rule_calls_total", "What each rule of the policies in force did.",
		{ { "rule", MAX_RULES }, { "outcome", OUTCOMES } }, function(put)
			for _, rule in ipairs(policy:list_rules()) do
				for _, outcome in ipairs(OUTCOMES) do put(rule[outcome], rule.full_name, outcome) end
			end
		end)
	set:read("counter", "kms_policy_failures_total", "Hooks that failed.", { { "hook", 64 }, { "why", WHY } },
		function(put) of_own(policy, "failures", put) end)
	set:read("counter", "kms_policy_notes_dropped_total", "Notes beyond those allowed for one call.", { { "hook", 64 } },
		function(put) of_own(policy, "notes_dropped", put) end)
	set:read("counter", "kms_policy_counts_dropped_total", "Additions of kms.count beyond the series kept.", nil,
		function(put) put((select(2, policy.counters:list()))) end)
	set:read("gauge", "kms_policy_since_seconds", "Since when the policies are in force, in Unix time.", nil,
		function(put) put(policy:status().since_ms // 1000) end)
	set:read("gauge", "kms_policy_reload_failed", "Whether the last reload was refused.", nil,
		function(put) put(policy:status().last_error and 1 or 0) end)
	set:read("gauge", "kms_policy_rules_suspended", "Rules that an operator has suspended.", nil,
		function(put) put(#policy:suspended()) end)
	set:read_families(function() return counted(self, policy) end)
end

return M
