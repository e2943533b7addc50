--- Runs the commands of a document as its reader would paste them, and knows which were never run.

local documents = require("spec.support.document")
local files = require("spec.support.files")
local nodes = require("spec.support.node")
local uv = require("luv")

local M = {}

local Runbook = {}
Runbook.__index = Runbook

local PASTE_S = 300 -- some compile

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

-- What the block says with the words that stand for its own, as a script that keeps the variables for the next one.
local function script_of(self, block, options)
	local text = block.text
	for _, words in ipairs({ options.words or {}, self.words }) do
		for word, other in pairs(words) do text = text:gsub(word:gsub("%p", "%%%0"), (other:gsub("%%", "%%%%"))) end
	end
	local script = { "set -eao pipefail", ("[ ! -f %s ] || . %s"):format(self.vars, self.vars), self.path }
	for name, value in pairs(options.vars or {}) do script[#script + 1] = ("%s='%s'"):format(name, value) end
	script[#script + 1] = text
	script[#script + 1] = "export -p >" .. self.vars
	return table.concat(script, "\n"), text
end

--- Runs a block. Variables that it sets stay for later ones.
-- @param options  words: word -> what stands for it; vars: variables; dir: folder (self.dir); or nil
-- @return exit code, what it printed, what it printed to standard error, what was run
function Runbook:run(block, options)
	options = options or {}
	block.ran = true
	local script, text = script_of(self, block, options)
	local code, out, err = nodes.run({ "-c", script }, {
		program = "/bin/bash", env = {}, cwd = options.dir or self.dir, timeout_s = PASTE_S,
	})
	return code, out, err, text
end

--- Runs the next block of a section, or block `number` of it.
-- @param options  as for run, and number; or nil
-- @return as run does
function Runbook:try(section, options)
	self.next[section] = options and options.number or self.next[section] + 1
	return self:run(assert(self.sections[section][self.next[section]], section), options)
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

--- Reads the blocks of a document that a spec is to run.
-- @param path  of the document; @param dir  a folder without `bin` and `vars`, where the commands run
-- @param spec  path of the spec, as the document's comments name it
-- @return runbook { dir, blocks (as document.commands gives them), words (word -> what stands for it, in every block) }
function M.read(path, dir, spec)
	local self = setmetatable({
		dir = dir, words = {}, vars = dir .. "/vars", path = ("PATH='%s/bin:%s'"):format(dir, os.getenv("PATH")),
		blocks = {}, sections = {}, next = {},
	}, Runbook)
	for _, block in ipairs(documents.commands(documents.read(path))) do
		if block.run_by == spec and not block.not_run then
			local section = block.section or "" -- above the first one
			self.blocks[#self.blocks + 1] = block
			self.sections[section] = self.sections[section] or {}
			table.insert(self.sections[section], block)
			self.next[section] = 0
		end
	end
	assert(uv.fs_mkdir(dir .. "/bin", 448))
	files.write(dir .. "/bin/nova-kms", PROGRAM:format(nodes.program), 448)
	assert(uv.fs_symlink(uv.cwd() .. "/contracts/node_modules/.bin/cast", dir .. "/bin/cast"))
	return self
end

return M
