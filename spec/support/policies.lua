--- A folder of policies that a running node reads: written, and taken up on command.

local files = require("spec.support.files")
local uv = require("luv")

local M = {}

local Folder = {}
Folder.__index = Folder

--- An empty folder: the shipped policies.
function M.new()
	return setmetatable({ dir = files.temp_dir() }, Folder)
end

--- Replaces a file ("access") atomically; text nil removes it.
function Folder:write(name, text)
	local path = self.dir .. "/" .. name .. ".lua"
	if not text then return os.remove(path) end
	files.write(self.dir .. "/new", text)
	assert(uv.fs_rename(self.dir .. "/new", path))
end

--- Has a node read them again, by its control socket: the reply comes when it has.
-- @return the policy part of its status
function Folder.reload(_, node)
	node:control("POST", "/reload")
	return node:status().policy
end

--- Writes a file and has a node take it; it must be valid and new.
function Folder:take(node, name, text)
	self:write(name, text)
	local status = self:reload(node)
	if status.last_error then error(status.last_error.first, 2) end
	return status
end

function Folder:remove()
	files.remove_dir(self.dir)
end

return M
