--- The command line: finds the command, parses its arguments, runs it.
-- A command is a module that returns a declaration (kms.cli.args) with
-- run = function(parsed, world) -> exit code. `world` is all that a command uses of the process:
--   stdout, stderr  files to write to
--   env(name)       an environment variable, or nil; never asked for a secret
--   root            folder that holds lua/ and config/
--   program         this program as a command, for examples
--   native()        the native module
--   is_terminal()   whether stdout is a terminal; may be absent
--   commands        further commands: list of { name, module }, or nil

local uv = require("luv")
local args = require("kms.cli.args")
local exit = require("kms.cli.exit")

local M = {}

-- The commands in the order of the help; each is the module kms.cli.<name>.
local COMMANDS = {
	"serve", "call", "status", "top", "nodes", "peers", "bans", "reload", "drain", "loglevel", "config", "policy",
	"keygen", "app", "attest", "cluster", "recovery", "snapshot", "audit", "completion", "man", "version",
}

-- Modules of commands by name: only the wanted command's, where there is one.
local function modules_of(world, wanted)
	local modules = {}
	for i, name in ipairs(COMMANDS) do modules[i] = { name = name, module = "kms.cli." .. name } end
	for _, entry in ipairs(world.commands or {}) do modules[#modules + 1] = entry end
	for _, entry in ipairs(modules) do
		if entry.name == wanted then return { entry } end
	end
	return modules
end

--- The declaration of the whole command line (kms.cli.args).
-- @param wanted  name of the command whose module to load; nil or unknown: all are loaded
function M.declaration(world, wanted)
	local commands = {}
	for i, entry in ipairs(modules_of(world, wanted)) do commands[i] = require(entry.module) end
	return {
		name = "nova-kms",
		summary = "A key-management node for trusted execution environments.",
		commands = commands,
	}
end

-- The program as a command: relative where it is below the current folder.
local function program_path()
	local path, here = uv.exepath(), uv.cwd()
	if path and here and path:sub(1, #here + 1) == here .. "/" then return path:sub(#here + 2) end
	return path or "nova-kms"
end

--- The world of this process.
-- @param root  folder that holds lua/ and config/
-- @param commands  further commands: list of { name, module }, or nil
function M.world(root, commands)
	return {
		stdout = io.stdout, stderr = io.stderr, env = os.getenv, root = root, program = program_path(),
		commands = commands, is_terminal = function() return uv.guess_handle(1) == "tty" end,
		native = function() return require("kms_native") end,
	}
end

local function usage_error(world, message, level)
	local usage = args.usage(level.command, level.name)
	world.stderr:write(level.name, ": ", message, "\n", usage, "\nTry '", level.name, " --help'.\n")
	return exit.USAGE
end

local function show_help(world, level)
	world.stdout:write(args.help(level.command, level.name))
	return exit.OK
end

--- Runs a command line.
-- @param argv  list of words after the program's name
-- @param world  as M.world gives it; passed to the command
-- @return exit code
function M.main(argv, world)
	if argv[1] == "--version" or argv[1] == "-V" then argv = { "version", table.unpack(argv, 2) } end
	if argv[1] == "help" then
		argv = { table.unpack(argv, 2) }
		argv[#argv + 1] = "--help"
	end
	local found, message, level = args.find(M.declaration(world, argv[1]), argv)
	if not found then return usage_error(world, message, level) end
	if not found.words then return show_help(world, found) end
	local parsed
	parsed, message = args.parse(found.command, found.words)
	if not parsed then return usage_error(world, message, found) end
	if parsed.help then return show_help(world, found) end
	return found.command.run(parsed, world)
end

return M
