--- Small data files: Lua tables in files, read without running code, replaced whole.

local uv = require("luv")

local M = {}

local MAX_BYTES = 1 << 20

--- Makes a folder (and its parents), mode 0700 where it is new.
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

--- Whether what lies in a folder is what this user, or root, has put there.
-- @return true | nil, message
function M.check_dir(path)
	local stat, message = uv.fs_stat(path)
	if not stat then return nil, message end
	if stat.uid ~= uv.getuid() and stat.uid ~= 0 then return nil, path .. " belongs to another user" end
	if stat.mode & 2 ~= 0 then return nil, path .. " can be written by every user" end
	return true
end

--- Removes a folder and what is in it; links in it go, what they lead to stays. A missing one is fine.
function M.remove_dir(path)
	local scan = uv.fs_scandir(path)
	if not scan then return end
	for name, kind in uv.fs_scandir_next, scan do
		local child = path .. "/" .. name
		if kind == "directory" then M.remove_dir(child) else uv.fs_unlink(child) end
	end
	uv.fs_rmdir(path)
end

--- Names of what is in a folder, sorted; none where it cannot be read.
function M.list(path)
	local names, scan = {}, uv.fs_scandir(path)
	while scan do
		local name = uv.fs_scandir_next(scan)
		if not name then break end
		names[#names + 1] = name
	end
	table.sort(names)
	return names
end

--- A text that changes when the file is edited or replaced; nil where there is none.
function M.mark(path)
	local stat = uv.fs_stat(path)
	if not stat then return nil end
	return ("%d/%d/%d.%09d"):format(stat.ino, stat.size, stat.mtime.sec, stat.mtime.nsec)
end

--- Loads `return { ... }` (or a bare table) from a file as data: text only, no globals, and
-- an instruction limit, so that a broken file can neither call anything nor hang the node.
-- @return table | nil, message
function M.load_table(path)
	local file, message = io.open(path, "rb")
	if not file then return nil, message end
	local text = file:read(MAX_BYTES + 1) or ""
	file:close()
	if #text > MAX_BYTES then return nil, path .. " is larger than 1 MiB" end
	local chunk
	chunk, message = load(text, "@" .. path, "t", {})
	if not chunk then return nil, message end
	local worker = coroutine.create(chunk)
	debug.sethook(worker, function() error("takes too long", 2) end, "", 1000000)
	local ok, data = coroutine.resume(worker)
	if not ok then return nil, tostring(data) end
	if type(data) ~= "table" then return nil, path .. " does not return a table" end
	return data
end

local function sorted_keys(t)
	local keys = {}
	for key in pairs(t) do keys[#keys + 1] = key end
	table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
	return keys
end

local function write_value(out, value, indent)
	if type(value) ~= "table" then
		out[#out + 1] = ("%q"):format(value)
		return
	end
	out[#out + 1] = "{\n"
	for _, key in ipairs(sorted_keys(value)) do
		out[#out + 1] = ("%s\t[%q] = "):format(indent, key)
		write_value(out, value[key], indent .. "\t")
		out[#out + 1] = ",\n"
	end
	out[#out + 1] = indent .. "}"
end

--- Writes a table of plain data so that load_table reads it back: a new file, synced, then
-- renamed over the old one, so that a crash leaves one or the other.
-- @return true | nil, message
function M.save_table(path, header, data)
	local out = { header, "return " }
	write_value(out, data, "")
	out[#out + 1] = "\n"
	local temporary = path .. ".new"
	local fd, message = uv.fs_open(temporary, "w", 384) -- 0600
	if not fd then return nil, message end
	local text = table.concat(out)
	local written, failure = uv.fs_write(fd, text, 0)
	if written then written, failure = uv.fs_fsync(fd) end
	uv.fs_close(fd)
	if not written then return nil, failure end
	local ok
	ok, message = uv.fs_rename(temporary, path)
	if not ok then return nil, message end
	return true
end

return M
