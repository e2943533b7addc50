--- The command line: finds the command, parses its arguments, runs it.
-- A command is a module below kms.cli that returns a declaration (kms.cli.args) with
-- run = function(args, world) -> exit code. `world` is what a command may use of the process:
--   stdout, stderr  to write to
--   env(name)       environment variable or nil; never asked for a secret
--   root            folder that holds lua/ and config/
--   program         how to call this program, for examples
--   native()        the native module

local uv = require("luv")
local args = require("kms.cli.args")
local exit = require("kms.cli.exit")

local M = {}

-- The commands in the order of the help; each is the module kms.cli.<name>, "-" written as "_".
local COMMANDS = {
	"serve", "call", "status", "nodes", "peers", "bans", "reload", "drain", "loglevel", "config", "policy", "keygen",
	"attest", "devnet", "devnet-odyn", "completion", "version",
}

--- The top of the command line (kms.cli.args). Only the module of the command that is meant gets
-- loaded, or all of them where none is.
function M.declaration(meant)
	local wanted = COMMANDS
	for _, name in ipairs(COMMANDS) do
		if name == meant then wanted = { name } end
	end
	local commands = {}
	for i, name in ipairs(wanted) do commands[i] = require("kms.cli." .. name:gsub("%-", "_")) end
	return {
		name = "nova-kms",
		summary = "A key-management node for trusted execution environments.",
		commands = commands,
	}
end

-- The program as it can be called from here: relative where it lies below this folder.
local function program_path()
	local path, here = uv.exepath(), uv.cwd()
	if path and here and path:sub(1, #here + 1) == here .. "/" then return path:sub(#here + 2) end
	return path or "nova-kms"
end

local function default_world(root)
	return {
		stdout = io.stdout, stderr = io.stderr, env = os.getenv, root = root, program = program_path(),
		native = function() return require("kms_native") end,
	}
end

local function usage_error(world, message, name, command)
	world.stderr:write(name, ": ", message, "\n", args.usage(command, name), "\nTry '", name, " --help'.\n")
	return exit.USAGE
end

local function show_help(world, command, name)
	world.stdout:write(args.help(command, name))
	return exit.OK
end

--- Runs a command line.
-- @param root   folder that holds lua/ and config/
-- @param argv   list of words behind the program's name
-- @param world  passed to the command; nil: the process's own
-- @return exit code
function M.main(root, argv, world)
	world = world or default_world(root)
	local command, name, words, level = args.find(M.declaration(argv[1]), argv)
	if not command then return usage_error(world, name, words, level) end
	if not words then return show_help(world, command, name) end
	local parsed, message = args.parse(command, words)
	if not parsed then return usage_error(world, message, name, command) end
	if parsed.help then return show_help(world, command, name) end
	return command.run(parsed, world)
end

return M
