--- `nova-kms completion`, in a real bash.

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
		assert.equal("check\ntest\nshow\nexplain\n--help\n", offers("policy ''"))
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
