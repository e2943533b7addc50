--- The folder of a devnet: its contents, when it may be cleared, and what a later run takes over.

local data_file = require("kms.base.data_file")
local files = require("kms.base.files")
local uv = require("luv")

local M = {}

local HEADER = "-- A devnet of nova-kms: this folder is cleared when it starts again.\n"
-- The folders that each devnet has, and those that some have: it removes no others.
local FOLDERS, MORE = { "chain", "nodes", "apps" }, { "custodians", "snapshots", "s3", "keys" }

local function own_id()
	return math.tointeger(uv.os_getpid()) -- luv gives a float
end

local function description(dir)
	return dir .. "/devnet.lua"
end

local function is_empty(dir)
	local scan = uv.fs_scandir(dir)
	return not scan or uv.fs_scandir_next(scan) == nil
end

-- Whether the devnet of this description still runs. Another process may have its id by now.
local function runs(known)
	local file = io.open(("/proc/%s/cmdline"):format(known.pid), "rb")
	if not file then return false end
	local words = file:read("a")
	file:close()
	return known.pid ~= own_id() and words:find("\0devnet\0", 1, true) ~= nil
end

local function clear(dir)
	for _, list in ipairs({ FOLDERS, MORE }) do
		for _, name in ipairs(list) do files.remove_dir(dir .. "/" .. name) end
	end
	uv.fs_unlink(description(dir))
end

local function make(dir)
	for _, name in ipairs(FOLDERS) do
		local ok, message = files.make_dir(dir .. "/" .. name)
		if not ok then return nil, message end
	end
	return true
end

--- What the last devnet in a folder recorded.
-- @return table | nil, message where there is a description that cannot be read
function M.known(dir)
	if not uv.fs_stat(description(dir)) then return nil end
	return data_file.read(description(dir))
end

--- Records what a later run and other programs need.
-- @param what  table of plain data; this adds `pid`
-- @return true | nil, message
function M.record(dir, what)
	what.pid = own_id()
	return data_file.write(description(dir), HEADER, what)
end

--- Prepares a folder for a devnet: clears what the last one left, or with `keep` leaves it.
-- @return true | nil, message
function M.prepare(dir, keep)
	local known = M.known(dir)
	if known and runs(known) then return nil, ("a devnet runs in %s (process %s)"):format(dir, known.pid) end
	if keep and not (known and known.registry) then return nil, ("there is no devnet in %s to keep"):format(dir) end
	if not known and not is_empty(dir) then
		return nil, ("%s contains other files: choose another folder with --dir"):format(dir)
	end
	if not keep then clear(dir) end
	local ok, message = make(dir)
	if not ok or keep then return ok, message end
	return M.record(dir, {})
end

return M
