--- `nova-kms completion`, in a real bash and a real zsh.

local files = require("spec.support.files")

local PROGRAM = (os.getenv("KMS_BUILD") or "build") .. "/nova-kms"

-- What bash offers for the last of the words.
local function offers(words)
	local dir = files.temp_dir()
	files.write(dir .. "/try", ([[
eval "$(%s completion)"
COMP_WORDS=(nova-kms %s)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_nova_kms
printf '%%s\n' "${COMPREPLY[@]}"
]]):format(PROGRAM, words))
	local pipe = assert(io.popen(("unset LD_PRELOAD; bash -u %s/try 2>&1"):format(dir)))
	local output = pipe:read("a")
	assert.is_true((pipe:close()))
	files.remove_dir(dir)
	return output
end

describe("completion", function()
	it("offers commands, and what is below them", function()
		assert.equal("peers\npolicy\n", offers("p"))
		assert.equal("check\ntest\nshow\nexplain\nsuspend\nresume\n--help\n", offers("policy ''"))
		assert.equal("--help\n", offers("policy --"))
	end)

	it("offers a command's options, also behind others and their values", function()
		assert.equal("--seed\n", offers("call derive --path x --se"))
		assert.equal("--format\n", offers("call get --key policy --fo"))
	end)

	it("offers an option's values where they are named, and leaves others to bash", function()
		assert.equal("base64\n", offers("call derive --format ba"))
		assert.equal("\n", offers("call derive --seed ''"))
		assert.equal("\n", offers("nonsense"))
	end)

	it("does nothing with what is typed but compare it", function()
		local dir = files.temp_dir()
		local program = "touch " .. dir .. "/ran"
		assert.equal("\n", offers(("'$(%s)' 'a[$(%s)]' '`%s`'"):format(program, program, program)))
		assert.is_nil(io.open(dir .. "/ran"))
		files.remove_dir(dir)
	end)
end)

-- What zsh offers for the last of the words; `files` where it completes file names. Zsh's own functions that show
-- offers are stood in for, as they need a terminal.
local function zsh_offers(words)
	local dir = files.temp_dir()
	files.write(dir .. "/try", ([[
compdef() { }
eval "$(%s completion zsh)"
_describe() { local -a offers=("${(@P)2}"); print -rl -- $offers }
_files() { print files }
words=(nova-kms %s)
CURRENT=$#words
_nova_kms
]]):format(PROGRAM, words))
	local pipe = assert(io.popen(("unset LD_PRELOAD; zsh -f %s/try 2>&1"):format(dir)))
	local output = pipe:read("a")
	assert.is_true((pipe:close()), output)
	files.remove_dir(dir)
	return output
end

describe("completion in zsh", function()
	local function there()
		return os.execute("command -v zsh >/dev/null 2>&1") or pending("zsh is not here")
	end

	it("offers commands and options with what --help says of them", function()
		if there() ~= true then return end
		assert.truthy(zsh_offers("''"):find("\nbans:list and lift a node's bans of peers\n", 1, true))
		local commands = "\nshow:[^\n]+\nexplain:[^\n]+\nsuspend:[^\n]+\nresume:[^\n]+\n%-%-help:show this help\n$"
		assert.truthy(zsh_offers("policy ''"):find(commands))
		assert.truthy(zsh_offers("call derive --path x ''"):find("\n--seed:seed file of the application", 1, true))
	end)

	it("offers the same words as bash", function()
		if there() ~= true then return end
		for _, words in ipairs({
			"''", "call ''", "call get ''", "recovery ''", "completion ''", "call derive --format ''",
		}) do
			local named = zsh_offers(words):gsub("([^\n:]+):[^\n]*", "%1")
			assert.equal(offers(words), named, words)
		end
	end)

	it("offers files where an option's values are not named", function()
		if there() ~= true then return end
		assert.equal("files\n", zsh_offers("call derive --seed ''"))
	end)

	it("does nothing with what is typed but compare it", function()
		if there() ~= true then return end
		local dir = files.temp_dir()
		local program = "touch " .. dir .. "/ran"
		zsh_offers(("'$(%s)' 'a[$(%s)]' '`%s`' ']' ''"):format(program, program, program))
		zsh_offers(("'-$(%s)' ''"):format(program))
		assert.is_nil(io.open(dir .. "/ran"))
		files.remove_dir(dir)
	end)
end)

describe("the completion command", function()
	it("names the shells that it knows", function()
		local pipe <close> = io.popen(PROGRAM .. " completion fish 2>&1")
		assert.truthy(pipe:read("a"):find("SHELL: 'fish' is not one of bash, zsh", 1, true))
	end)
end)
