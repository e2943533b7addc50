--- Parses command lines from declarations, and writes the help that follows from them.
-- A declaration is a table:
--   name, summary
--   options    list of { name, help, value (placeholder; nil: a switch), type ("int" with min and max, one of
--              kms.cli.option_types, or nil: text), values (list of those allowed), default, short (one letter), many
--              (may be given more than once: its value is a list) }
--   arguments  list of { name, help, optional, type and values (as of options; not with many), many (of the last
--              one: it takes all words left, as a list) }, in order
--   commands   list of declarations of subcommands, instead of options and arguments
--   notes      text at the end of the help
--   run        function(parsed, world) -> exit code, called by kms.cli
-- `parsed` holds values by name, with "-" replaced by "_". Every level takes --help.

local suggest = require("kms.base.suggest")
local text_of = require("kms.base.text")
local types = require("kms.cli.option_types")

local M = {}

--- What each exit code means, as kms.cli.exit.
M.EXIT_HELP = [[
Exit codes: 0 success, 1 refused or failed, 2 wrong usage, 3 node not reachable,
4 configuration not valid, 5 response could not be verified. Attestation documents: 6 malformed,
7 not trusted, 8 not valid at that time, 9 not as required. Writes: 10 done or not, the answer did
not come.
]]

--- The switch of commands that can print JSON.
M.JSON = { name = "json", help = "print JSON" }

--- The switch that every command has.
M.HELP = { name = "help", short = "h", help = "show this help" }
local WIDTH = 26 -- of a help's left column
local MAX_SHOWN = 80 -- bytes of a value that is not valid

local function member(name)
	return (name:gsub("-", "_"))
end

-- The options of a command, --help included, by their texts ("--name", "-n"), and the list of long texts.
local function option_table(command)
	local by_text, texts = {}, {}
	for _, option in ipairs({ M.HELP, table.unpack(command.options or {}) }) do
		by_text["--" .. option.name] = option
		texts[#texts + 1] = "--" .. option.name
		if option.short then by_text["-" .. option.short] = option end
	end
	return by_text, texts
end

local function unknown(kind, text, known)
	local near = suggest.nearest(text, known)
	return ("unknown %s '%s'%s"):format(kind, text, near and (", did you mean '%s'?"):format(near) or "")
end

local function is_one_of(values, text)
	for _, allowed in ipairs(values) do
		if allowed == text then return true end
	end
	return false
end

local function shown(text, mask)
	return text_of.excerpt(mask and mask(text) or text, MAX_SHOWN)
end

-- Checks and converts the value of an option or argument. Returns value | nil, message.
-- @param name  as messages have it
local function convert(declared, name, text)
	if declared.type == "int" then
		local value = text:find("^%-?%d+$") and math.tointeger(tonumber(text))
		if value and value >= declared.min and value <= declared.max then return value end
		return nil, ("%s: '%s' is not a whole number from %d to %d"):format(name, shown(text), declared.min, declared.max)
	end
	if declared.type then
		local kind = types[declared.type]
		local value = kind.parse(text)
		if value then return value end
		return nil, ("%s: '%s' is not valid: allowed is %s"):format(name, shown(text, kind.mask), kind.allowed)
	end
	if not declared.values or is_one_of(declared.values, text) then return text end
	return nil, ("%s: '%s' is not one of %s"):format(name, shown(text), table.concat(declared.values, ", "))
end

-- Reads the option at position `at`. Returns the next position | nil, message.
local function read_option(command, argv, at, parsed)
	local by_text, texts = option_table(command)
	local text, value = argv[at]:match("^(%-%-[^=]+)=(.*)$")
	text = text or argv[at]
	local option = by_text[text]
	if not option then return nil, unknown("option", text, texts) end
	local name = member(option.name)
	if parsed[name] ~= nil and not option.many then return nil, ("%s is given twice"):format(text) end
	if not option.value then
		if value then return nil, ("%s takes no value"):format(text) end
		parsed[name] = true
		return at + 1
	end
	local next_at = value and at + 1 or at + 2
	-- Another option in place of the value most likely means that the value was forgotten.
	if not value and argv[at + 1] and not argv[at + 1]:find("^%-%-") then value = argv[at + 1] end
	if not value then return nil, ("%s needs a value: %s"):format(text, option.value) end
	local converted, message = convert(option, "--" .. option.name, value)
	if converted == nil then return nil, message end
	if option.many then
		parsed[name] = parsed[name] or {}
		table.insert(parsed[name], converted)
	else
		parsed[name] = converted
	end
	return next_at
end

local function assign_arguments(command, words, parsed)
	local declared = command.arguments or {}
	local last = declared[#declared]
	if last and last.many then
		words[#declared] = #words >= #declared and table.move(words, #declared, #words, 1, {}) or nil
		for i = #words, #declared + 1, -1 do words[i] = nil end
	end
	if #words > #declared then return nil, ("unexpected argument '%s'"):format(words[#declared + 1]) end
	for i, argument in ipairs(declared) do
		if not words[i] and not argument.optional then return nil, ("%s is missing"):format(argument.name:upper()) end
		local value, message = words[i], nil
		if value and not argument.many then value, message = convert(argument, argument.name:upper(), value) end
		if message then return nil, message end
		parsed[member(argument.name)] = value or argument.many and {} or nil
	end
	return parsed
end

--- Parses the words after a command's name.
-- @param command  declaration without `commands`
-- @param argv  list of words
-- @return values by name ({ help = true } where --help is among the words) | nil, message
function M.parse(command, argv)
	local parsed, words, at = {}, {}, 1
	local options_end = false
	while argv[at] do
		local word = argv[at]
		if options_end or not word:find("^%-.") then
			words[#words + 1], at = word, at + 1
		elseif word == "--" then
			options_end, at = true, at + 1
		else
			local next_at, message = read_option(command, argv, at, parsed)
			if not next_at then return nil, message end
			if parsed.help then return { help = true } end
			at = next_at
		end
	end
	for _, option in ipairs(command.options or {}) do
		local name = member(option.name)
		if parsed[name] == nil then parsed[name] = option.default end
	end
	return assign_arguments(command, words, parsed)
end

--- Finds the command of a command line.
-- @param root  declaration with `commands`
-- @return { command, name (full), words (after the name; nil: help of this level is wanted) } |
--   nil, message, { command, name } of the level that lacks the subcommand
function M.find(root, argv)
	local command, name, at = root, root.name, 1
	while command.commands do
		local word = argv[at]
		if word == "--help" or word == "-h" then return { command = command, name = name } end
		if not word then return nil, "a command is missing", { command = command, name = name } end
		local names, found = {}, nil
		for i, candidate in ipairs(command.commands) do
			names[i] = candidate.name
			if candidate.name == word then found = candidate end
		end
		if not found then
			local kind = word:find("^%-") and "option" or "command"
			return nil, unknown(kind, word, names), { command = command, name = name }
		end
		command, name, at = found, name .. " " .. word, at + 1
	end
	return { command = command, name = name, words = { table.unpack(argv, at) } }
end

local function row(left, right)
	if #left < WIDTH - 2 then return ("  %-" .. (WIDTH - 2) .. "s%s\n"):format(left, right) end
	return ("  %s\n%s%s\n"):format(left, (" "):rep(WIDTH), right)
end

local function option_left(option)
	local left = (option.short and "-" .. option.short .. ", " or "") .. "--" .. option.name
	return option.value and left .. " " .. option.value or left
end

--- What the help says of an argument.
function M.argument_text(argument)
	return argument.values and argument.help .. ": " .. table.concat(argument.values, ", ") or argument.help
end

--- What the help says of an option.
function M.option_text(option)
	local right = M.argument_text(option)
	if option.default ~= nil then right = ("%s (default %s)"):format(right, tostring(option.default)) end
	return right
end

--- The usage line of a command.
-- @param name  full name ("nova-kms config check")
function M.usage(command, name)
	local parts = { "Usage: " .. name }
	if command.commands then
		parts[#parts + 1] = "COMMAND"
	else
		parts[#parts + 1] = "[OPTIONS]"
	end
	for _, argument in ipairs(command.arguments or {}) do
		local text = argument.name:upper() .. (argument.many and "..." or "")
		parts[#parts + 1] = argument.optional and "[" .. text .. "]" or text
	end
	return table.concat(parts, " ")
end

--- The help of a command, or of a level of subcommands.
-- @param name  full name
function M.help(command, name)
	local parts = { M.usage(command, name), "\n\n", command.summary, "\n" }
	local function add(text) parts[#parts + 1] = text end
	if command.commands then
		add("\nCommands:\n")
		for _, below in ipairs(command.commands) do add(row(below.name, below.summary)) end
	end
	if command.arguments and #command.arguments > 0 then
		add("\nArguments:\n")
		for _, argument in ipairs(command.arguments) do add(row(argument.name:upper(), M.argument_text(argument))) end
	end
	add("\nOptions:\n")
	for _, option in ipairs(command.options or {}) do add(row(option_left(option), M.option_text(option))) end
	add(row(option_left(M.HELP), M.HELP.help))
	if command.notes then add("\n" .. command.notes .. "\n") end
	add("\n" .. M.EXIT_HELP)
	return table.concat(parts)
end

return M
