--- Reads a document: its blocks of code, its links, and who runs its commands. Comments, which readers do not see, say
-- who:
--   <!-- run by: spec/x_spec.lua -->  that spec runs every block of commands (```sh) from here on
--   <!-- not run: why -->             nobody runs the next block; its commands are only looked at (commands.lua)

local M = {}

-- Each state of reading: inside a block, or not.
local function in_block(reader, line)
	if line:match("^%s*") .. "```" == line then
		reader.block.text = table.concat(reader.lines, "\n")
		reader.block = nil
	else
		reader.lines[#reader.lines + 1] = line:sub(#reader.indent + 1)
	end
end

local function outside(reader, line, number)
	local indent, language = line:match("^(%s*)```(%w*)$")
	if indent then
		reader.block = {
			line = number, section = reader.section, language = language, run_by = reader.run_by, not_run = reader.not_run,
		}
		reader.indent, reader.lines, reader.not_run = indent, {}, nil
		table.insert(reader.blocks, reader.block)
		return
	end
	reader.run_by = line:match("^%s*<!%-%- run by: (%S+) %-%->$") or reader.run_by
	reader.not_run = line:match("^%s*<!%-%- not run: (.+) %-%->$")
	local heading = line:match("^#+ (.+)$")
	if heading then reader.headings[#reader.headings + 1] = heading end
	reader.section = line:match("^## (.+)$") or reader.section
	reader.prose[#reader.prose + 1] = { number = number, text = line }
end

--- Reads a document.
-- @return { path, blocks: list of { line, section (text of the heading of level 2, or nil), language ("sh", "" ...),
--   text, run_by (path of a spec, or nil), not_run (why, or nil) }, headings: list of texts, prose: list of { number,
--   text }: the lines outside blocks }; throws where a block does not end
function M.read(path)
	local reader = { path = path, blocks = {}, headings = {}, prose = {} }
	local number = 0
	for line in io.lines(path) do
		number = number + 1
		if reader.block then in_block(reader, line) else outside(reader, line, number) end
	end
	if reader.block then error(("%s:%d: this block does not end"):format(path, reader.block.line), 2) end
	return { path = path, blocks = reader.blocks, headings = reader.headings, prose = reader.prose }
end

--- The blocks of commands of a document: a list of what M.read has in `blocks`.
function M.commands(document)
	local list = {}
	for _, block in ipairs(document.blocks) do
		if block.language == "sh" then list[#list + 1] = block end
	end
	return list
end

--- The paths of all documents of this project, README.md first.
function M.paths()
	local list = {}
	local pipe <close> = assert(io.popen("find . -name '*.md' -not -path '*/node_modules/*' -not -path './build/*' " ..
		"-not -path './.git/*' -not -path '*/site-packages/*' | sort"))
	for path in pipe:lines() do
		path = path:sub(3)
		table.insert(list, path == "README.md" and 1 or #list + 1, path)
	end
	return list
end

--- The name of a heading in links, as forges make it.
function M.anchor(heading)
	return (heading:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-"))
end

return M
