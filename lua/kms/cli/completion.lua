--- `nova-kms completion`: prints a script for bash or zsh that completes commands, options and their values. Both have
-- the same words, from the same declarations as --help.

local args = require("kms.cli.args")
local exit = require("kms.cli.exit")

-- `words` maps a command path, or an option after it, to the words that may follow. An option with free
-- values maps to none, so that the shell completes file names.
local BASH = [==[
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

-- Likewise; each word has its description behind a colon, and stands on a line of its own.
local ZSH = [==[
#compdef nova-kms
# Completion of nova-kms in zsh: eval "$(nova-kms completion zsh)"
_nova_kms() {
	local -A follow=(
%s	)
	local line=nova-kms before=$words[CURRENT-1] i
	for ((i = 2; i < CURRENT; i++)); do
		[[ $words[i] != -* && -n ${follow[$line $words[i]]+set} ]] && line+=" $words[i]"
	done
	[[ $before == -* && -n ${follow[$line $before]+set} ]] && line+=" $before"
	local -a choices=("${(@f)follow[$line]}")
	if [[ -n $choices ]]; then _describe 'nova-kms' choices; else _files; fi
}
if [[ $funcstack[1] == _nova-kms ]]; then _nova_kms "$@"; else compdef _nova_kms nova-kms; fi
]==]

-- Appends what may follow a command and its options, and below it: { path, words = list of { word, description } }.
local function describe(entries, command, path)
	local own = { path = path, words = {} }
	local function add(word, text) own.words[#own.words + 1] = { word, text } end
	entries[#entries + 1] = own
	for _, below in ipairs(command.commands or {}) do add(below.name, below.summary) end
	for _, option in ipairs(command.options or {}) do
		add("--" .. option.name, option.help)
		if option.value then
			local values = { path = path .. " --" .. option.name, words = {} }
			for i, value in ipairs(option.values or {}) do values.words[i] = { value } end
			entries[#entries + 1] = values
		end
	end
	for _, argument in ipairs(command.arguments or {}) do
		for _, value in ipairs(argument.values or {}) do add(value, argument.help) end
	end
	add("--" .. args.HELP.name, args.HELP.help)
	for _, below in ipairs(command.commands or {}) do describe(entries, below, path .. " " .. below.name) end
	return entries
end

local function bash_line(entry)
	local words = {}
	for i, word in ipairs(entry.words) do words[i] = word[1] end
	return ('\t\t["%s"]="%s"\n'):format(entry.path, table.concat(words, " "))
end

-- A text between $' and ', as one word of _describe: a colon would end it.
local function zsh_text(text)
	return (text:gsub("\\", "\\\\"):gsub("'", "\\'"):gsub("\n", " "))
end

local function zsh_line(entry)
	local words = {}
	for i, word in ipairs(entry.words) do
		words[i] = zsh_text(word[1]:gsub(":", "\\:") .. (word[2] and ":" .. word[2] or ""))
	end
	return ("\t\t'%s' $'%s'\n"):format(entry.path, table.concat(words, "\\n"))
end

local SHELLS = { bash = { script = BASH, line = bash_line }, zsh = { script = ZSH, line = zsh_line } }

local function run(parsed, world)
	local shell = SHELLS[parsed.shell or "bash"]
	local top = require("kms.cli").declaration(world) -- required here, since kms.cli loads this module
	local lines = {}
	for i, entry in ipairs(describe({}, top, "nova-kms")) do lines[i] = shell.line(entry) end
	world.stdout:write((shell.script:gsub("%%s", function() return table.concat(lines) end)))
	return exit.OK
end

return {
	name = "completion",
	summary = "print a script for bash or zsh that completes this command line",
	arguments = { { name = "shell", help = "the shell; bash where it is not given", optional = true,
		values = { "bash", "zsh" } } },
	notes = 'Use: eval "$(nova-kms completion)", for example in ~/.bashrc, or eval "$(nova-kms completion zsh)" in\n'
		.. "~/.zshrc. `make install` and the Debian package install both.",
	run = run,
}
