--- `nova-kms policy explain derive --app 7 --path x`: shows which rule of which file decides, with its
-- line. Counters and limits are empty, as for the first request of a node.

local exit = require("kms.cli.exit")
local json = require("kms.base.json")
local limits = require("kms.config.limits")

local M = {}

-- By action, the hook that is asked after access.request; false: none.
local HOOKS = { derive = "access.derive", get = "access.data", list = "access.data", put = "access.data",
	delete = "access.data", session = false }
local WALLET = "0x0000000000000000000000000000000000000000"

-- What an option is for.
local OF = {
	path = { derive = true }, context = { derive = true }, length = { derive = true },
	key = { get = true, put = true, delete = true }, size = { put = true }, ttl_ms = { put = true },
}

--- The options of the command.
-- @param dir, as_json  options that all policy commands share
function M.OPTIONS(dir, as_json)
	return {
		{ name = "app", value = "ID", type = "id", help = "application id", default = "1000" },
		{ name = "path", value = "PATH", help = "derive: the path" },
		{ name = "context", value = "TEXT", help = "derive: the context" },
		{ name = "length", value = "N", help = "derive: length of the key", type = "int", min = 1, max = 1024 },
		{ name = "key", value = "KEY", help = "get, put, delete: the record's key" },
		{ name = "size", value = "BYTES", help = "put: size of the value", type = "int", min = 0, max = 1 << 40 },
		{ name = "ttl-ms", value = "MS", help = "put: time to live", type = "int", min = 0, max = 1 << 50 },
		{ name = "wallet", value = "WALLET", type = "wallet", help = "wallet of the caller", default = WALLET },
		{ name = "version", value = "ID", type = "id", help = "version of the application", default = "1" },
		{ name = "instance", value = "ID", type = "id", help = "instance of the application", default = "1" },
		{ name = "remote", value = "ADDRESS", type = "ip_address", help = "address of the caller", default = "192.0.2.1" },
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
		complete.path, complete.context, complete.length = parsed.path or "", parsed.context or "", parsed.length or 32
	elseif OF.key[parsed.action] then
		complete.key = parsed.key or ""
	end
	if parsed.action == "put" then complete.size, complete.ttl_ms = parsed.size or 0, parsed.ttl_ms or 0 end
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

-- Checks that the facts can be those of a request. Returns true | nil, message.
local function check(parsed)
	for name, actions in pairs(OF) do
		if parsed[name] ~= nil and not actions[parsed.action] then
			return nil, ("--%s: %s has none"):format(name:gsub("_", "-"), parsed.action)
		end
	end
	return true
end

-- What the node refuses whatever a policy says. Returns nil, or why.
local function own_limit(parsed, cfg)
	if parsed.key and parsed.action == "put" and #parsed.key > cfg.MAX_KEY_BYTES then
		return ("the key is longer than MAX_KEY_BYTES=%d"):format(cfg.MAX_KEY_BYTES)
	end
	if parsed.key and #parsed.key > limits.PEER_KEY then
		return ("the key is longer than %d bytes"):format(limits.PEER_KEY)
	end
	if parsed.size and parsed.size > cfg.MAX_KV_VALUE_SIZE_BYTES then
		return ("the value is larger than MAX_KV_VALUE_SIZE_BYTES=%d"):format(cfg.MAX_KV_VALUE_SIZE_BYTES)
	end
	return nil
end

-- Shows a refusal by the node itself.
local function show_own(why, parsed, world)
	if parsed.json then
		world.stdout:write(json.encode({ allowed = false, reason = why, steps = json.list({}) }), "\n")
	else
		world.stdout:write("the node itself refuses with 400: ", why, "\n")
	end
	return exit.FAILED
end

--- Runs the command.
-- @param policy  kms.policy, opened with trace; @param cfg  configuration, or nil: its limits are not known
-- @return exit code
function M.run(policy, parsed, world, cfg)
	local hook = HOOKS[parsed.action]
	if hook == nil then
		world.stderr:write(("'%s' is not one of derive, get, list, put, delete, session\n"):format(parsed.action))
		return exit.USAGE
	end
	local ok, message = check(parsed)
	if not ok then
		world.stderr:write(message, "\n")
		return exit.USAGE
	end
	local why = cfg and own_limit(parsed, cfg)
	if why then return show_own(why, parsed, world) end
	local request, complete = facts_of(parsed, policy.wall_ms())
	local first, allowed = step(policy, "access.request", request)
	local steps = { first }
	if allowed and hook then steps[2], allowed = step(policy, hook, complete) end
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
