--- `nova-kms completion`: prints a bash script that completes commands, options and their values.

local exit = require("kms.cli.exit")

-- `words` maps a command path, or an option after it, to the words that may follow. An option with free
-- values maps to none, so that bash completes file names.
local SCRIPT = [==[
# Completion of nova-kms in bash: eval "$(nova-kms completion)"
_nova_kms() {
	local -A words=(
%s	)
	local path=nova-kms word=${COMP_WORDS[COMP_CWORD]} i
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} != -* && ${words["$path ${COMP_WORDS[i]}"]+set} ]] && path+=" ${COMP_WORDS[i]}"
	done
	local before=${COMP_WORDS[COMP_CWORD - 1]}
	[[ $before == -* && ${words["$path $before"]+set} ]] && path+=" $before"
	mapfile -t COMPREPLY < <(compgen -W "${words["$path"]}" -- "$word")
}
complete -o default -F _nova_kms nova-kms
]==]

local function add(lines, path, words)
	lines[#lines + 1] = ('\t\t["%s"]="%s"\n'):format(path, table.concat(words, " "))
end

-- Appends the entries of a command and its subcommands.
local function describe(lines, command, path)
	local words = {}
	for _, below in ipairs(command.commands or {}) do words[#words + 1] = below.name end
	for _, option in ipairs(command.options or {}) do
		words[#words + 1] = "--" .. option.name
		if option.value then add(lines, path .. " --" .. option.name, option.values or {}) end
	end
	words[#words + 1] = "--help"
	add(lines, path, words)
	for _, below in ipairs(command.commands or {}) do describe(lines, below, path .. " " .. below.name) end
	return lines
end

return {
	name = "completion",
	summary = "print a bash script that completes this command line",
	notes = 'Use: eval "$(nova-kms completion)", for example in ~/.bashrc.',
	run = function(_, world)
		local top = require("kms.cli").declaration(world) -- required here, since kms.cli loads this module
		world.stdout:write(SCRIPT:format(table.concat(describe({}, top, "nova-kms"))))
		return exit.OK
	end,
}
