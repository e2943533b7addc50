--- Looks at commands of documents without running them: that the program, its subcommand, its options, the target of
-- make and the files that are named exist.

local args = require("kms.cli.args")
local cli = require("kms.cli")
local files = require("spec.support.files")
local uv = require("luv")

local M = {}

-- What other projects' programs are called with here: subcommands and options, or nothing to know of them.
local OTHERS = {
	["nitro-cli"] = { "describe-eif", "--eif-path" },
	["age-keygen"] = { "-o" },
	age = { "-d", "-i" },
	apt = { "install" },
	aws = { "ec2", "modify-instance-metadata-options", "--http-put-response-hop-limit", "--http-tokens" },
	cargo = { "install", "--locked" },
	cast = { "--ledger", "--account" },
	curl = { "-s", "--unix-socket" },
	docker = { "build", "create", "export", "run", "-f", "-t", "--build-arg", "--ulimit" },
	enclaver = { "build", "run", "-f", "--publish", "--debug-mode" },
	install = { "-m" },
	prometheus = { "--config.file", "--storage.tsdb.path" },
	promtool = { "test" },
	sort = {}, tar = { "-t" }, sha256sum = {}, editor = {},
	systemctl = { "enable", "restart", "reload", "status", "--now" },
}
-- Where files of the repository are when they are installed.
local INSTALLED = "^/usr/share/nova%-kms/"
local FOLDERS = {
	config = true, contracts = true, clients = true, csrc = true, docs = true, examples = true, include = true,
	lua = true, packaging = true, spec = true,
}

local function set(list)
	local all = {}
	for _, value in ipairs(list) do all[value] = true end
	return all
end

-- ---- words ----------------------------------------------------------------------------------------------------

local SPACE, QUOTES, ENDS = set({ " ", "\t" }), set({ "'", '"' }), set({ "\n", ";", "|", "&", "(", ")" })

-- Without what follows `<<'END'`, line continuations and comments.
local function plain(text)
	text = (text .. "\n"):gsub("\\\n", " "):gsub("(<<'(%w+)'[^\n]*\n).-\n%2\n", "%1")
	return ("\n" .. text):gsub("%s#[^\n]*", "")
end

--- The simple commands of a text of shell: a list of lists of words, without the quotes of the shell.
function M.split(text)
	local commands, words, word, quote = {}, {}, nil, nil
	local function end_word()
		if word then words[#words + 1] = word end
		word = nil
	end
	for c in plain(text):gmatch(".") do
		if quote then
			if c == quote then quote = nil else word = word .. c end
		elseif QUOTES[c] then
			quote, word = c, word or ""
		elseif SPACE[c] or ENDS[c] then
			end_word()
			if ENDS[c] and #words > 0 then
				commands[#commands + 1], words = words, {}
			end
		else
			word = (word or "") .. c
		end
	end
	return commands
end

-- ---- programs -------------------------------------------------------------------------------------------------

local makefile, targets

-- Of `make WORDS`: each word is a target, NAME=VALUE of a variable, or a file that make makes.
local function look_at_make(words)
	makefile = makefile or files.read("Makefile")
	if not targets then
		targets = {}
		for name in makefile:gsub("\\\n", " "):match("\n%.PHONY: ([^\n]+)"):gmatch("%S+") do targets[name] = true end
	end
	for i = 2, #words do
		local word = words[i]
		local variable, source = word:match("^(%u[%u_]*)="), word:match("^build/obj/(.+)%.o$")
		if variable then
			if not makefile:find("%f[%w_]" .. variable .. "%f[^%w_]") then return "no variable " .. variable end
		elseif not targets[word] and not (source and uv.fs_stat(source .. ".c")) then
			return "no target " .. word
		end
	end
end

local declaration

-- A command with subcommands has the options of these, for texts that speak of all.
local function has_option(command, text)
	for _, sub in ipairs(command.commands or {}) do
		if has_option(sub, text) then return true end
	end
	for _, option in ipairs({ args.HELP, table.unpack(command.options or {}) }) do
		if text == "--" .. option.name or text == "-" .. (option.short or "-") then return true end
	end
	return false
end

local function node_commands()
	declaration = declaration or cli.declaration({ commands = { { name = "devnet", module = "devnet.command" } } })
	return declaration
end

-- Of `nova-kms WORDS`: the subcommands and options exist. "..." and "[WORD]" stand for further words.
local function look_at_node(words)
	local command = node_commands()
	for i = 2, #words do
		local word = words[i]:match("^%[?(.-)%]?$"):match("^[^=]+") or ""
		if command.commands and not word:find("^%-") then
			local found
			for _, sub in ipairs(command.commands) do found = sub.name == word and sub or found end
			if not found then return ("no command '%s' of %s"):format(word, command.name) end
			command = found
		elseif word:find("^%-.") and not has_option(command, word) then
			return ("no option %s of %s"):format(word, command.name)
		end
	end
end

local function look_at_other(words)
	local known = set(OTHERS[words[1]])
	for i = 2, #words do
		local option = words[i]:match("^%-[^=]+")
		if option and not known[option] then return ("no option %s of %s that is known here"):format(option, words[1]) end
	end
	local first = OTHERS[words[1]][1]
	if first and not first:find("^%-") and not known[words[2]] then
		return ("no command %s of %s that is known here"):format(words[2], words[1])
	end
end

-- Files of the repository among the words exist.
local function look_at_files(words)
	for _, word in ipairs(words) do
		local path = word:gsub(INSTALLED, ""):match("([%w_.-]+/[%w/_.*-]+)$")
		if path and FOLDERS[path:match("^[^/]+")] and not path:find("node_modules", 1, true) then
			local stem = path:match("^([^*]+/)[^/]*%*") or path
			if not uv.fs_stat(stem) then return "no file " .. stem end
		end
	end
end

local LOOKS = { make = look_at_make, ["nova-kms"] = look_at_node, ["build/nova-kms"] = look_at_node }
for name in pairs(OTHERS) do LOOKS[name] = look_at_other end

--- Whether a command of nova-kms has an option ("--name"), or another program that documents call.
function M.is_option(text)
	for _, options in pairs(OTHERS) do
		if set(options)[text] then return true end
	end
	return has_option(node_commands(), text)
end

--- Looks at the commands of a text of shell.
-- @return number of commands | nil, what is wrong with the first that is wrong
function M.look(text)
	local count = 0
	for _, words in ipairs(M.split(text)) do
		while words[1] == "sudo" or (words[1] or ""):find("^[%u_]+=") do table.remove(words, 1) end
		if words[1] then
			local look = LOOKS[words[1]]
			if not look then return nil, ("%s: spec/support/commands.lua does not know it"):format(words[1]) end
			local wrong = look(words) or look_at_files(words)
			if wrong then return nil, ("%s: %s"):format(table.concat(words, " "), wrong) end
			count = count + 1
		end
	end
	return count
end

return M
