--- `nova-kms policy explain derive --app 7 --path x`: shows which rule of which file decides, with its
-- line. Counters and limits are empty, as for the first request of a node.

local exit = require("kms.cli.exit")
local json = require("kms.base.json")

local M = {}

local HOOKS = { derive = "access.derive", get = "access.data", list = "access.data", put = "access.data",
	delete = "access.data" }
local WALLET = "0x0000000000000000000000000000000000000000"

--- The options of the command.
-- @param dir, as_json  options that all policy commands share
function M.OPTIONS(dir, as_json)
	return {
		{ name = "app", value = "ID", help = "application id", default = "1000" },
		{ name = "path", value = "PATH", help = "derive: the path", default = "" },
		{ name = "context", value = "TEXT", help = "derive: the context", default = "" },
		{ name = "length", value = "N", help = "derive: length of the key", type = "int", min = 1, max = 1024, default = 32 },
		{ name = "key", value = "KEY", help = "get, put, delete: the record's key" },
		{ name = "size", value = "BYTES", help = "put: size of the value", type = "int", min = 0, max = 1 << 40,
			default = 0 },
		{ name = "ttl-ms", value = "MS", help = "put: time to live", type = "int", min = 0, max = 1 << 50, default = 0 },
		{ name = "wallet", value = "WALLET", help = "wallet of the caller", default = WALLET },
		{ name = "version", value = "ID", help = "version of the application", default = "1" },
		{ name = "instance", value = "ID", help = "instance of the application", default = "1" },
		{ name = "remote", value = "ADDRESS", help = "address of the caller", default = "192.0.2.1" },
		dir, as_json,
	}
end

-- The facts for access.request, and those for the hook of the action.
local function facts_of(parsed, now_ms)
	local request = {
		route = parsed.action, app_id = parsed.app, version_id = parsed.version, instance_id = parsed.instance,
		wallet = parsed.wallet, remote = parsed.remote, now = now_ms,
	}
	local complete = {}
	for name, value in pairs(request) do complete[name] = value end
	if parsed.action == "derive" then
		complete.path, complete.context, complete.length = parsed.path, parsed.context, parsed.length
	elseif parsed.action ~= "list" then
		complete.key = parsed.key or ""
	end
	if parsed.action == "put" then complete.size, complete.ttl_ms = parsed.size, parsed.ttl_ms end
	return request, complete
end

-- Calls one hook. Returns a description of its verdict, whether it allows the request.
local function step(policy, path, facts)
	local name, key = path:match("^(%a+)%.(.*)$")
	local _, file, defined = policy:value(name, key)
	local verdict = policy:verdict(path, facts)
	local _, line = policy:decided()
	local entry = { hook = path, file = file, defined = defined, line = line }
	if verdict == true then
		entry.verdict = "allows"
	else
		entry.verdict = verdict.failed and "fails and therefore refuses" or "refuses"
		entry.rule, entry.status, entry.reason, entry.retry_after =
			verdict.rule, verdict.status, verdict.reason, verdict.retry_after
	end
	return entry, verdict == true
end

local function describe(entry)
	local parts = { ("%s (%s%s) %s"):format(entry.rule or entry.hook, entry.file,
		entry.defined and ":" .. entry.defined or "", entry.verdict) }
	if entry.line then parts[#parts + 1] = ("at line %d"):format(entry.line) end
	return table.concat(parts, " ")
end

--- Runs the command.
-- @param policy  kms.policy, opened with trace
-- @return exit code
function M.run(policy, parsed, world)
	if not HOOKS[parsed.action] then
		world.stderr:write(("'%s' is not one of derive, get, list, put, delete\n"):format(parsed.action))
		return exit.USAGE
	end
	local request, complete = facts_of(parsed, policy.wall_ms())
	local first, allowed = step(policy, "access.request", request)
	local steps = { first }
	if allowed then steps[2], allowed = step(policy, HOOKS[parsed.action], complete) end
	local last = steps[#steps]
	if parsed.json then
		world.stdout:write(json.encode({ allowed = allowed, steps = json.list(steps) }), "\n")
	else
		for _, entry in ipairs(steps) do world.stdout:write(describe(entry), "\n") end
		local reason = last.reason and ": " .. last.reason or ""
		world.stdout:write(allowed and "allowed" or ("refused with %d%s"):format(last.status, reason), "\n")
	end
	return allowed and exit.OK or exit.FAILED
end

return M
