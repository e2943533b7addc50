--- Finds variables of the environment that are most likely misspelt settings. They are no errors, since an environment
-- holds the variables of other programs too.

local file = require("kms.config.file")
local schema = require("kms.config.schema")
local suggest = require("kms.base.suggest")
local text = require("kms.base.text")

local M = {}

-- The names of all settings, in order, and as a set.
local function settings()
	local list, set = { file.PATH_VARIABLE }, { [file.PATH_VARIABLE] = true }
	local function add(name)
		list[#list + 1], set[name] = name, true
	end
	for _, section in ipairs(schema.sections()) do
		for _, key in ipairs(section.keys) do
			add(key.name)
			if key.alias then add(key.alias) end
		end
	end
	return list, set
end

--- Says which variables look like misspelt settings. Their values, which may be secrets, are not asked for.
-- @param names  list of the names of the environment's variables
-- @return list of lines, one for each such variable
function M.notes(names)
	local known, is_known = settings()
	local notes, seen = {}, {}
	for _, name in ipairs(names) do
		local meant = not is_known[name] and not seen[name] and suggest.misspelt(name, known)
		seen[name] = true
		if meant then
			notes[#notes + 1] = ("%s is not a setting; did you mean %s? (ignored)"):format(text.printable(name), meant)
		end
	end
	return notes
end

return M
