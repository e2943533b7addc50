--- `nova-kms policy`: checks, tests, shows and explains operators' policies, without a node; and shows those of a
-- running node and suspends their rules (kms.cli.policy_live).

local uv = require("luv")

local args = require("kms.cli.args")
local config = require("kms.config")
local exit = require("kms.cli.exit")
local explain = require("kms.cli.policy_explain")
local json = require("kms.base.json")
local live = require("kms.cli.policy_live")
local policy = require("kms.policy")
local policy_test = require("kms.cli.policy_test")
local session = require("kms.cli.session")
local show = require("kms.cli.policy_show")

local DIR = { name = "dir", help = "folder of the policies (default: POLICY_DIR, config/policy)", optional = true }
local DIR_OPTION = { name = "dir", value = "DIR", help = "folder of the policies (default: POLICY_DIR, config/policy)" }
local SOCKET = { name = "socket", value = "PATH", help = "ask the node on this control socket instead" }
local GUARDED_BYTES = 8 << 20

-- Returns { dir, shipped, required }: the folder of the policies, that of the shipped ones, and whether the first
-- must exist | nil, message.
local function folders(given, world)
	local shipped = world.root .. "/config/policy"
	if given then
		local stat = uv.fs_stat(given)
		if stat and stat.type == "directory" then return { dir = given:gsub("(.)/+$", "%1"), shipped = shipped } end
		return nil, given .. " is not a folder"
	end
	local cfg, errors = config.load({ env = world.env, default_path = world.root .. "/config/node.lua" })
	if not cfg then return nil, table.concat(errors, "\n") end
	return { dir = cfg.POLICY_DIR, shipped = shipped, required = config.origin(cfg, "POLICY_DIR") ~= "default" }
end

-- Returns kms.policy | nil, list of mistakes.
local function open(given, world, trace)
	local found, message = folders(given, world)
	if not found then return nil, { message } end
	local native = world.native()
	if not native.ready() then
		local ok
		ok, message = native.init(GUARDED_BYTES)
		if not ok then return nil, { message } end
	end
	return policy.open({
		native = native, dir = found.dir, shipped = found.shipped, required = found.required, trace = trace,
		wall_ms = native.wall_ms, mono_ms = native.mono_ms,
	})
end

local function print_mistakes(mistakes, world)
	for _, line in ipairs(mistakes) do world.stderr:write(line, "\n") end
	return exit.CONFIG
end

local function run_check(parsed, world)
	local opened, mistakes = open(parsed.dir, world)
	if parsed.json then
		local hash = opened and opened:status().hash
		world.stdout:write(json.encode({ valid = opened ~= nil, mistakes = json.list(mistakes or {}), hash = hash }), "\n")
		return opened and exit.OK or exit.CONFIG
	end
	if not opened then
		print_mistakes(mistakes, world)
		world.stderr:write(#mistakes, #mistakes == 1 and " mistake\n" or " mistakes\n")
		return exit.CONFIG
	end
	world.stdout:write("policies are valid: ", opened:status().hash, "\n")
	return exit.OK
end

local function run_show(parsed, world)
	if parsed.socket and parsed.dir then
		return session.fail(world, "show takes DIR or --socket, not both", "ERR_USAGE")
	end
	if parsed.socket then return live.show(parsed, world) end
	local opened, mistakes = open(parsed.dir, world)
	if not opened then return print_mistakes(mistakes, world) end
	return show.run(opened, parsed, world)
end

local function run_explain(parsed, world)
	local opened, mistakes = open(parsed.dir, world, true)
	if not opened then return print_mistakes(mistakes, world) end
	local cfg = config.load({ env = world.env, default_path = world.root .. "/config/node.lua" })
	return explain.run(opened, parsed, world, cfg)
end

local function run_test(parsed, world)
	local found, message = folders(parsed.dir, world)
	if not found then return print_mistakes({ message }, world) end
	return policy_test.run(found.dir, world)
end

local COMMANDS = {
	{
		name = "check", summary = "list all mistakes of a folder of policies, with file and line",
		arguments = { DIR }, options = { args.JSON }, run = run_check,
	},
	{
		name = "test", summary = "run the *_spec.lua files of a folder of policies with busted",
		arguments = { DIR }, run = run_test,
		notes = "Specs call the hooks through require(\"kms.policy.testing\").open().",
	},
	{
		name = "show", summary = "show the policies of a folder and where each value comes from, or those of a running node",
		arguments = { DIR }, options = { SOCKET, session.TIMEOUT, args.JSON }, run = run_show,
		notes = "With --socket: what a running node has in force, hits of each rule, suspensions, and the latest loads.",
	},
	{
		name = "explain", summary = "show which rule decides on a request, with file and line",
		arguments = { { name = "action", help = "derive, get, list, put, delete or session (its opening)" } },
		options = explain.OPTIONS(DIR_OPTION, args.JSON), run = run_explain,
	},
}

return {
	name = "policy",
	summary = "check, test, show and explain operators' policies, and suspend rules of a running node",
	commands = table.move(live.COMMANDS, 1, #live.COMMANDS, #COMMANDS + 1, COMMANDS),
}
