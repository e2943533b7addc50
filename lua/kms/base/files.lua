--- Files and folders: bounded reading, folders that only this user can fill.

local native = require("kms_native")
local uv = require("luv")

local M = {}

local ENTRIES_AT_ONCE = 64 -- of a folder

-- The text of a luv error: "ENOENT: no such file or directory: a/b" without code and path.
local function reason_of(message)
	return message:match("^%u+: ([^:]+)") or message
end

--- Reads a regular file of bounded size.
-- @param max_bytes  longest file
-- @param refuse  function(stat) -> reason to refuse the file, or nil; or nil
-- @return text | nil, reason (without the path), code ("ENOENT" where the file does not exist)
function M.read(path, max_bytes, refuse)
	-- Asked before opening, since opening a named pipe waits for a writer.
	local stat, message, code = uv.fs_stat(path)
	if not stat then return nil, "cannot be read: " .. reason_of(message), code end
	if stat.type ~= "file" then return nil, "is not a file" end
	local refusal = refuse and refuse(stat)
	if refusal then return nil, refusal end
	local file, failure = io.open(path, "rb")
	if not file then return nil, "cannot be read: " .. failure:gsub("^.*: ", "") end
	local text = file:read(max_bytes + 1) or ""
	file:close()
	if #text > max_bytes then return nil, ("is larger than %d KiB"):format(max_bytes // 1024) end
	return text
end

--- Makes a folder and its parents, mode 0700 where they are new.
-- @return true | nil, message
function M.make_dir(path)
	local stat = uv.fs_stat(path)
	if stat then
		if stat.type == "directory" then return true end
		return nil, path .. " is not a folder"
	end
	local parent = path:match("^(.+)/[^/]+/?$")
	if parent then
		local ok, message = M.make_dir(parent)
		if not ok then return nil, message end
	end
	local ok, message = uv.fs_mkdir(path, 448) -- 0700
	if not ok and not uv.fs_stat(path) then return nil, "cannot make folder " .. path .. ": " .. message end
	return true
end

--- Whether only this user and root can create files in a folder.
-- @return true | nil, message
function M.check_dir(path)
	local stat, message = uv.fs_stat(path)
	if not stat then return nil, message end
	if stat.uid ~= uv.getuid() and stat.uid ~= 0 then return nil, path .. " belongs to another user" end
	if stat.mode & 2 ~= 0 then return nil, path .. " can be written by every user" end
	if stat.mode & 16 ~= 0 then return nil, path .. " can be written by its group" end
	return true
end

--- Calls fn(name, type) for each entry of a folder, in no order, until it returns true. Nothing is called where the
-- folder cannot be read. Use this instead of uv.fs_scandir, which loses half a KiB in each call (luv 1.44).
-- @param fn type: "file", "directory", "link", ...; must not throw
function M.each(path, fn)
	local dir, enough = uv.fs_opendir(path, nil, ENTRIES_AT_ONCE), false
	while dir and not enough do
		local entries = uv.fs_readdir(dir)
		if not entries or #entries == 0 then break end
		for _, entry in ipairs(entries) do
			enough = fn(entry.name, entry.type) == true
			if enough then break end
		end
	end
	if dir then uv.fs_closedir(dir) end
end

--- Removes a folder and what is in it. Links are removed, their targets stay. A missing folder is fine.
function M.remove_dir(path)
	local entries = {}
	M.each(path, function(name, kind) entries[name] = kind end)
	for name, kind in pairs(entries) do
		local child = path .. "/" .. name
		if kind == "directory" then M.remove_dir(child) else uv.fs_unlink(child) end
	end
	uv.fs_rmdir(path)
end

--- The names in a folder, sorted; an empty list where it cannot be read.
function M.list(path)
	local names = {}
	M.each(path, function(name) names[#names + 1] = name end)
	table.sort(names)
	return names
end

--- The version of a file or folder: a text that changes when it is edited or replaced, gets another owner or mode, or,
-- of a folder, when an entry comes or goes.
-- @return text | nil where there is none
M.version = native.file_version

-- A name for the new content of a file: random, so that two writers do not meet.
local function temporary(path)
	return ("%s.%s.new"):format(path, (uv.random(8):gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
end

local function call_here(fn, ...) return fn(...) end

--- Writes and syncs a new file of mode 0600 and renames it over the old one, so that a crash or a full disk leaves one
-- or the other, whole.
-- @param call  function(fn, ...) -> result | nil, message: calls a function of luv; nil: here
-- @return true | nil, message
function M.replace(path, bytes, call)
	call = call or call_here
	local new = temporary(path)
	local fd, message = call(uv.fs_open, new, "wx", 384) -- 0600
	if not fd then return nil, message end
	local written, failure = call(uv.fs_write, fd, bytes, 0)
	local ok = written == #bytes
	if written and not ok then failure = "the disk took only a part of it" end
	if ok then ok, failure = call(uv.fs_fsync, fd) end
	call(uv.fs_close, fd)
	if ok then ok, failure = call(uv.fs_rename, new, path) end
	if ok then return true end
	call(uv.fs_unlink, new)
	return nil, failure
end

-- Whether replace(), or kms_file_write in C, gives a new file this name.
local function is_temporary(name)
	return #(name:match("^.+%.(%x+)%.new$") or "") == 16 or name:find("^.+%.new%.%d+$") ~= nil
end

--- Removes new files that a crash left.
-- @param dir  folder
-- @param min_age_s  of a file: 0 where nobody else writes there, otherwise longer than any writer takes
function M.remove_unfinished(dir, min_age_s)
	for _, name in ipairs(M.list(dir)) do
		local path = dir .. "/" .. name
		local stat = is_temporary(name) and uv.fs_lstat(path)
		if stat and stat.type == "file" and os.time() - stat.mtime.sec >= min_age_s then uv.fs_unlink(path) end
	end
end

return M
