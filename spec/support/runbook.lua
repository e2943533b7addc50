--- Runs the commands of docs/recovery.md as its reader would paste them, and knows which were never run.

local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")

local M = {}

local Runbook = {}
Runbook.__index = Runbook

local PASTE_S = 120

-- What stands for words that somebody at a terminal, or in an enclave, does not give.
local PROGRAM = [[
#!/bin/sh
case "$1 $2" in
"recovery give") set -- "$@" --allow-simulated --yes ;;
"recovery shares" | "recovery check") set -- "$@" --allow-simulated ;;
"attest verify") set -- "$@" --allow-debug ;;
"snapshot save" | "snapshot verify" | "drain ") set -- "$@" --socket "$SOCKET" ;;
esac
exec %s "$@"
]]

-- The blocks of commands: list of { section, text }.
local function read(path)
	local blocks, section, indent, lines = {}, nil, nil, nil
	for line in io.lines(path) do
		section = line:match("^## (.+)$") or section
		if lines and line == indent .. "```" then
			blocks[#blocks + 1] = { section = section, text = table.concat(lines, "\n") }
			lines = nil
		elseif lines then
			lines[#lines + 1] = line:sub(#indent + 1)
		else
			indent = line:match("^(%s*)```sh$")
			lines = indent and {}
		end
	end
	return blocks
end

--- Runs the next block of a section, or block `number` of it. Variables that it sets stay for later ones.
-- @param options  words: word -> what stands for it; vars: variables; dir: folder (self.dir); number; or nil
-- @return exit code, what it printed
function Runbook:try(section, options)
	options = options or {}
	self.next[section] = options.number or self.next[section] + 1
	local block = assert(self.sections[section][self.next[section]], section)
	block.ran = true
	local text = block.text
	for _, words in ipairs({ options.words or {}, self.words }) do
		for word, other in pairs(words) do text = text:gsub(word:gsub("%p", "%%%0"), (other:gsub("%%", "%%%%"))) end
	end
	local script = { "set -eao pipefail", ("[ ! -f %s ] || . %s"):format(self.vars, self.vars), self.path }
	for name, value in pairs(options.vars or {}) do script[#script + 1] = ("%s='%s'"):format(name, value) end
	script[#script + 1] = text
	script[#script + 1] = "export -p >" .. self.vars
	local code, out, err = nodes.run({ "-c", table.concat(script, "\n") }, {
		program = "/bin/bash", env = {}, cwd = options.dir or self.dir, timeout_s = PASTE_S,
	})
	return code, out, err, text
end

--- As try, where the commands must succeed.
-- @return what they printed
function Runbook:paste(section, options)
	local code, out, err, text = self:try(section, options)
	if code ~= 0 then error(("%s:\n%s\n%s%s"):format(section, text, out, err), 2) end
	return out
end

--- The blocks that were not run: list of texts.
function Runbook:unused()
	local list = {}
	for _, block in ipairs(self.blocks) do
		if not block.ran then list[#list + 1] = ("%s: %s"):format(block.section, block.text) end
	end
	return list
end

--- Reads a document.
-- @param dir  an empty folder, where the commands run
-- @return runbook { dir, words (word -> what stands for it, in every block) }
function M.read(path, dir)
	local self = setmetatable({
		dir = dir, words = {}, vars = dir .. "/vars", path = ("PATH='%s/bin:%s'"):format(dir, os.getenv("PATH")),
		blocks = read(path), sections = {}, next = {},
	}, Runbook)
	for _, block in ipairs(self.blocks) do
		self.sections[block.section] = self.sections[block.section] or {}
		table.insert(self.sections[block.section], block)
		self.next[block.section] = 0
	end
	assert(uv.fs_mkdir(dir .. "/bin", 448))
	files.write(dir .. "/bin/nova-kms", PROGRAM:format(nodes.program), 448)
	assert(uv.fs_symlink(uv.cwd() .. "/contracts/node_modules/.bin/cast", dir .. "/bin/cast"))
	return self
end

return M
