--- `nova-kms man`: prints the manual page nova-kms(1), in the language of man(7), from the same declarations as --help.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")

-- A line of text: a backslash, a hyphen that is to be copied, and a dot or quote that would begin a request.
local function escape(text)
	text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("'", "\\(aq"):gsub("%^", "\\(ha"):gsub("~", "\\(ti")
	return (text:gsub("^%.", "\\&."):gsub("\n%.", "\n\\&."))
end

local function bold(text)
	return "\\fB" .. escape(text) .. "\\fR"
end

local function italic(text)
	return "\\fI" .. escape(text) .. "\\fR"
end

-- A term and what it means.
local function item(add, left, right)
	add(".TP\n" .. left .. "\n" .. escape(right) .. "\n")
end

local function option_item(add, option)
	local left = (option.short and bold("-" .. option.short) .. ", " or "") .. bold("--" .. option.name)
	if option.value then left = left .. " " .. italic(option.value) end
	item(add, left, args.option_text(option))
end

-- Text with its own line breaks: examples in notes are to stay as they are.
local function as_it_is(add, text)
	add(".PP\n.nf\n" .. escape(text:gsub("\n+$", "")) .. "\n.fi\n")
end

-- A command with its arguments, options and notes, and those below it.
local function command_section(add, command, name)
	local words = args.usage(command, name):sub(#("Usage: " .. name .. " ") + 1)
	add(".SS " .. bold(name) .. " " .. escape(words) .. "\n" .. escape(command.summary) .. "\n")
	for _, argument in ipairs(command.arguments or {}) do
		item(add, italic(argument.name:upper()), args.argument_text(argument))
	end
	for _, option in ipairs(command.options or {}) do option_item(add, option) end
	if command.notes then as_it_is(add, command.notes) end
	for _, below in ipairs(command.commands or {}) do command_section(add, below, name .. " " .. below.name) end
end

local FILES = {
	{ "/etc/nova-kms/node.lua", "the node's settings, where the service reads them" },
	{ "/usr/share/nova-kms/config/node.lua", "every setting with its default, unit and bounds" },
	{ "/var/lib/nova-kms", "the service's data folder (DATA_DIR)" },
	{ "/usr/share/doc/nova-kms", "documents; docs/operating.md is the operator's" },
}

local ENVIRONMENT = {
	{ "NOVA_KMS_CONFIG", "the configuration file of commands that are given none" },
	{ "NOTIFY_SOCKET, WATCHDOG_USEC", "set by a supervisor, which serve tells what it does (sd_notify(3))" },
}

-- @param top  declaration of the whole command line
local function page(top, version)
	local parts = {}
	local function add(text) parts[#parts + 1] = text end
	add((".TH NOVA-KMS 1 \"\" \"nova-kms %s\" \"User Commands\"\n"):format(version))
	add(".SH NAME\nnova-kms \\- " .. escape(top.summary:sub(1, 1):lower() .. top.summary:sub(2):gsub("%.$", "")) .. "\n")
	add(".SH SYNOPSIS\n" .. bold(top.name) .. " " .. italic("COMMAND") .. " [" .. italic("OPTIONS") .. "]\n")
	add(".SH DESCRIPTION\n" .. escape(top.summary) .. " Every command takes\n")
	option_item(add, args.HELP)
	add(".PP\nThe commands:\n")
	for _, below in ipairs(top.commands) do item(add, bold(below.name), below.summary) end
	add(".SH COMMANDS\n")
	for _, below in ipairs(top.commands) do command_section(add, below, top.name .. " " .. below.name) end
	add(".SH ENVIRONMENT\nEach setting of the configuration can be set as a variable, too.\n")
	for _, entry in ipairs(ENVIRONMENT) do item(add, bold(entry[1]), entry[2]) end
	add(".SH FILES\nOf the Debian package; another installation has them below its own prefix.\n")
	for _, entry in ipairs(FILES) do item(add, italic(entry[1]), entry[2]) end
	add(".SH EXIT STATUS\n" .. escape(args.EXIT_HELP:gsub("^Exit codes: ", "")))
	return table.concat(parts)
end

local function run(_, world)
	local top = require("kms.cli").declaration(world) -- required here, since kms.cli loads this module
	world.stdout:write(page(top, world.native().version))
	return exit.OK
end

return {
	name = "man",
	summary = "print the manual page nova-kms(1), for man and groff",
	notes = "Use: nova-kms man >nova-kms.1 && man ./nova-kms.1",
	run = run,
}
