--- The command line: finds the command, parses its arguments, runs it.
-- A command is a module below kms.cli that returns a declaration (kms.cli.args) with
-- run = function(args, io) -> exit code. `io` is what a command has of the world:
--   out(text), err(text)  one or more lines to standard output and error, newline added
--   env(name)             environment variable or nil; never asked for a secret
--   root                  folder that holds lua/ and config/
--   native()              the native module

local args = require("kms.cli.args")

local M = {}

-- The modules, in the order of the help.
local COMMANDS = { "kms.cli.config", "kms.cli.version" }

local function declaration()
	local commands = {}
	for i, name in ipairs(COMMANDS) do commands[i] = require(name) end
	return {
		name = "nova-kms",
		summary = "A key-management node for trusted execution environments.",
		commands = commands,
	}
end

local function default_io(root)
	return {
		out = function(text) io.stdout:write(text, "\n") end,
		err = function(text) io.stderr:write(text, "\n") end,
		env = os.getenv,
		root = root,
		native = function() return require("kms_native") end,
	}
end

local function usage_error(world, message, name, command)
	world.err(("%s: %s"):format(name, message))
	world.err(args.usage(command, name))
	world.err(("Try '%s --help'."):format(name))
	return args.EXIT.USAGE
end

--- Runs a command line.
-- @param root   folder that holds lua/ and config/
-- @param argv   list of words behind the program's name
-- @param world  what commands get as `io`, or nil for the process's own
-- @return exit code
function M.main(root, argv, world)
	world = world or default_io(root)
	local top = declaration()
	local command, name, words, level = args.find(top, argv)
	if not command then return usage_error(world, name, words, level) end
	if not words then
		world.out(args.help(command, name))
		return args.EXIT.OK
	end
	local parsed, message = args.parse(command, words)
	if not parsed then return usage_error(world, message, name, command) end
	if parsed.help then
		world.out(args.help(command, name))
		return args.EXIT.OK
	end
	return command.run(parsed, world)
end

return M
