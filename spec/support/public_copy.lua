--- A copy of what specs run, in a folder that every user may enter: the checkout may lie below a folder of mode 0700,
-- where processes of another user find nothing. Made when first needed, removed when this process ends.

local files = require("spec.support.files")
local uv = require("luv")

local M = {}

local made -- keeps the folder: collected with this Lua state

local function shell(command, ...)
	local words = { ... }
	for i, word in ipairs(words) do words[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
	assert(os.execute(command .. " " .. table.concat(words, " ")))
end

local function make(build)
	local dir = files.temp_dir()
	made = setmetatable({ dir = dir }, { __gc = function(self) files.remove_dir(self.dir) end })
	assert(uv.fs_mkdir(dir .. "/build", 493))
	shell("cp", build .. "/nova-kms", dir .. "/build/")
	for _, name in ipairs({ "intruder", "insider.so", "nsm_fake.so" }) do
		assert(uv.fs_mkdir(dir .. "/build/spec", 493) or uv.fs_stat(dir .. "/build/spec"))
		shell("cp", build .. "/spec/" .. name, dir .. "/build/spec/")
	end
	shell("cp -R lua config", dir)
	shell("chmod -R a+rX", dir)
end

--- The same text with paths into the build folder replaced by those of the copy.
-- @param build  the absolute path of the build folder
function M.moved(text, build)
	if not made then make(build) end
	local from = text:find(build .. "/", 1, true)
	if not from then return text end
	return M.moved(text:sub(1, from - 1) .. made.dir .. "/build/" .. text:sub(from + #build + 1), build)
end

--- The folder of the copy: lua, config, build.
function M.dir(build)
	if not made then make(build) end
	return made.dir
end

return M
