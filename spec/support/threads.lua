--- The threads of this process, from /proc.

local files = require("spec.support.files")
local uv = require("luv")

local M = {}

local TASKS = "/proc/self/task"

--- The folders of all threads in /proc.
function M.all()
	local list, scan = {}, assert(uv.fs_scandir(TASKS))
	for id in uv.fs_scandir_next, scan do list[#list + 1] = TASKS .. "/" .. id end
	return list
end

--- The folder of the thread with this name; nil: there is none.
function M.named(name)
	for _, folder in ipairs(M.all()) do
		if files.read(folder .. "/comm") == name .. "\n" then return folder end
	end
end

--- The nice value of a thread, by its folder, or of the main thread.
function M.nice(folder)
	-- Field 19 of stat; the name, field 2, may hold blanks.
	local stat = files.read((folder or "/proc/self") .. "/stat")
	return tonumber((stat:match("%) (.+)$"):match(("%S+ "):rep(16) .. "(%S+)")))
end

return M
