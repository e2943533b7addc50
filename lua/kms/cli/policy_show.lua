--- `nova-kms policy show`: prints the policies in force, and where each value comes from.

local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local schema = require("kms.policy.schema")
local text = require("kms.base.text")

local M = {}

-- Members that are shown one by one: each can come from the operator's or the shipped policies.
local KEYS = {
	{ "access", "request" }, { "access", "derive" }, { "access", "data" },
	{ "blacklist", "rules" }, { "blacklist", "exempt" }, { "blacklist", "decide" },
	{ "routes", "extra" },
	{ "sync", "interval" }, { "sync", "max_records" }, { "sync", "max_bytes" }, { "sync", "parallel" },
	{ "sync", "backoff" }, { "sync", "peers" }, { "sync", "accept" }, { "sync", "release_secret" },
}

local function shown(value)
	if value == nil then return "(none)" end
	if type(value) == "function" then
		local first, last = value()
		return first == last and "function" or ("function of %d lines"):format(last - first + 1)
	end
	if type(value) == "table" then return text.count(#value, "entry", "entries") end
	return tostring(value)
end

local function location(path, line)
	return line and ("%s:%d"):format(path, line) or path
end

local function values_of(policy)
	local list = {}
	for i, key in ipairs(KEYS) do
		local value, path, line = policy:value(key[1], key[2])
		local origin = value ~= nil and location(path, line) or ""
		list[i] = { name = key[1] .. "." .. key[2], value = shown(value), origin = origin }
	end
	return list
end

local function rules_of(policy)
	local list = {}
	for i, rule in ipairs(policy:list_rules()) do
		list[i] = {
			hook = rule.hook, name = rule.name, description = rule.description, origin = location(rule.path, rule.line),
		}
	end
	return list
end

local function print_text(policy, world)
	local status = policy:status()
	world.stdout:write("hash ", status.hash, "\napi ", tostring(status.api), "\n\nFiles:\n")
	for _, name in ipairs(schema.NAMES) do
		local source = policy.set.sources[name]
		world.stdout:write(("  %-10s %s%s\n"):format(name, source.path, source.shipped and " (shipped default)" or ""))
	end
	world.stdout:write("\nValues:\n")
	for _, entry in ipairs(values_of(policy)) do
		world.stdout:write(("  %-22s %-28s %s\n"):format(entry.name, entry.value, entry.origin))
	end
	world.stdout:write("\nRules:\n")
	for _, rule in ipairs(rules_of(policy)) do
		local description = rule.description and "  " .. rule.description or ""
		world.stdout:write(("  %-36s %s%s\n"):format(rule.name, rule.origin, description))
	end
end

--- Runs the command.
-- @param policy  kms.policy
-- @return exit code
function M.run(policy, parsed, world)
	if not parsed.json then
		print_text(policy, world)
		return exit.OK
	end
	local status, sources = policy:status(), {}
	for _, name in ipairs(schema.NAMES) do
		local source = policy.set.sources[name]
		sources[name] = { path = source.path, shipped = source.shipped }
	end
	world.stdout:write(json.encode({
		hash = status.hash, api = status.api, files = sources, values = json.list(values_of(policy)),
		rules = json.list(rules_of(policy)),
	}), "\n")
	return exit.OK
end

return M
