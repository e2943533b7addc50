--- Temporary folders and small files of specs.

local files = require("kms.base.files")
local uv = require("luv")

local M = {}

--- A new empty folder, mode 0700.
function M.temp_dir()
	return assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/nova-kms-spec-XXXXXX"))
end

--- Removes a folder and what is in it; a missing one is fine.
M.remove_dir = files.remove_dir

--- Content of a file, or nil.
function M.read(path)
	local file = io.open(path, "rb")
	if not file then return nil end
	local text = file:read("a")
	file:close()
	return text
end

--- Writes a file whole: beside it first, then renamed over it.
-- @param mode number, default 0600
function M.write(path, text, mode)
	local fd = assert(uv.fs_open(path .. ".tmp", "w", mode or 384))
	assert(uv.fs_write(fd, text, 0))
	uv.fs_close(fd)
	assert(uv.fs_chmod(path .. ".tmp", mode or 384))
	assert(uv.fs_rename(path .. ".tmp", path))
end

--- A table of plain data as Lua source.
function M.serialize(value)
	if type(value) ~= "table" then return ("%q"):format(value) end
	local out = {}
	for key, item in pairs(value) do out[#out + 1] = ("[%q]=%s"):format(key, M.serialize(item)) end
	return "{" .. table.concat(out, ",\n") .. "}"
end

return M
