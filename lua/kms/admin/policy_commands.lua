--- The control socket's commands about policies.
--
--   GET /policy                                  the policies in force: rules with their hits, suspensions, history
--   PUT /policy/suspended/<rule>?for=N[&why=T]   suspends a rule for N seconds; T: text for the logs and for operators
--   DELETE /policy/suspended/<rule>              ends that

local err = require("kms.base.err")
local json = require("kms.base.json")
local native = require("kms_native")
local needs = require("kms.base.needs")
local note = require("kms.policy.note")

local M = {}

local SUSPEND = { ["for"] = true, why = true } -- its parameters

local HEADERS = { ["Content-Type"] = "application/json" }

local function reply(value, outcome)
	return { status = 200, headers = HEADERS, body = json.encode(value), outcome = outcome }
end

-- The rules, routes excepted, which count nothing.
local function rules_of(policy, now_ms, suspended)
	local list, by_name = {}, {}
	for _, one in ipairs(suspended) do by_name[one.rule] = one end
	for _, rule in ipairs(policy:list_rules()) do
		list[#list + 1] = not rule.is_route and {
			name = rule.full_name, description = rule.description, file = rule.path, line = rule.line, passed = rule.passed,
			refused = rule.refused, failed = rule.failed, let_through = rule.let_through,
			last_hit_ms = rule.hit_ms and now_ms - rule.hit_ms, suspended = by_name[rule.full_name],
		} or nil
	end
	return json.list(list)
end

local function show(self)
	local policy = self.policy
	local page, history = policy:status(), {}
	local suspended, ended = policy:suspended()
	for i, change in ipairs(policy:history()) do history[i] = change end
	page.now_ms, page.rules = self.wall_ms(), rules_of(policy, self.mono_ms(), suspended)
	page.suspended, page.ended, page.history = json.list(suspended), json.list(ended), json.list(history)
	return reply(page)
end

-- A parameter that may stand once. Returns value or nil, and whether the query is well formed.
local function parameter(query, name)
	local value, count = native.http_query(query or "", name)
	return value, math.type(count) == "integer" and count <= 1
end

-- Whether a query has no other parameters than these.
local function only(query, known)
	for pair in (query or ""):gmatch("[^&]+") do
		if not known[pair:match("^[^=]*")] then return false end
	end
	return true
end

local function suspend(self, name, caller, query)
	local seconds, once = parameter(query, "for")
	local why, why_once = parameter(query, "why")
	if not once or not why_once or not only(query, SUSPEND) then
		return err.reply("ERR_BAD_REQUEST", "the query must be for=SECONDS, or for=SECONDS&why=TEXT")
	end
	if not seconds or not seconds:find("^%d+$") or #seconds > 9 then
		return err.reply("ERR_BAD_REQUEST", "for must be a number of seconds, 1 to 86400")
	end
	local ok, message = note.check(why)
	if not ok then return err.reply("ERR_BAD_REQUEST", "why: " .. message) end
	local one
	one, message = self.policy.suspensions:add(name, math.tointeger(tonumber(seconds)), { why = why, uid = caller.uid })
	if not one then return err.reply("ERR_BAD_REQUEST", message) end
	local list = self.policy:suspended()
	return reply({ suspended = list[#list], hash = self.policy:hash() }, "suspended")
end

local function resume(self, name, caller, query)
	if not only(query, {}) then return err.reply("ERR_BAD_REQUEST", "there are no parameters") end
	local ok, was = self.policy.suspensions:resume(name, caller.uid)
	if not ok then return err.reply("ERR_BAD_REQUEST", was) end
	return reply({ rule = name, resumed = was, hash = self.policy:hash() }, was and "resumed" or "nothing to resume")
end

--- @param deps policy (kms.policy), mono_ms, wall_ms
-- @return routes as kms.admin.commands has them
function M.routes(deps)
	local self = needs.take(deps, "policy mono_ms wall_ms")
	return {
		{ name = "policy", method = "GET", path = "/policy", handler = function() return show(self) end, reads = true },
		{
			name = "suspend rule", method = "PUT", prefix = "/policy/suspended/",
			handler = function(name, caller, query) return suspend(self, name, caller, query) end,
		},
		{
			name = "resume rule", method = "DELETE", prefix = "/policy/suspended/",
			handler = function(name, caller, query) return resume(self, name, caller, query) end,
		},
	}
end

return M
