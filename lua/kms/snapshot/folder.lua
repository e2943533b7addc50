--- Snapshot files in a folder: <folder>/<hash of the secret>/<wallet>/<file>. Another place has the same methods. They
-- yield; the work is the pool's.

local names = require("kms.snapshot.names")
local native = require("kms_native")
local on_pool = require("kms.async.on_pool")
local uv = require("luv")

local M = {}

local Folder = {}
Folder.__index = Folder

local MODE = 448 -- 0700
local MAX_FILE = 64 << 20 -- KMS_SNAPSHOT_MAX_FILE

-- The text of a luv error without code and path.
local function reason_of(message)
	return message:match("^%u+: ([^:]+)") or message
end

-- The entries of a folder: name -> type | nil, message. A folder that does not exist is empty.
local function entries_of(path)
	local scan, message = on_pool.call(uv.fs_scandir, path)
	if not scan and message:find("^ENOENT") then return {} end
	if not scan then return nil, reason_of(message) end
	local entries = {}
	for name, kind in uv.fs_scandir_next, scan do entries[name] = kind end
	return entries
end

local function path_of(self, wallet, sequence, kind)
	return ("%s/%s/%s"):format(self.path, wallet, names.file(sequence, kind))
end

-- One wallet's files | nil, message.
local function list_wallet(self, wallet)
	local entries, message = entries_of(self.path .. "/" .. wallet)
	if not entries then return nil, message end
	local listed = { manifests = {}, records = {}, unfinished = {} }
	for name in pairs(entries) do
		local sequence, kind = names.parse(name)
		if kind == "manifest" then
			table.insert(listed.manifests, sequence)
		elseif kind then
			listed.records[sequence] = true
		elseif name:find("^%d+%.%l+%.new%.%d+$") then
			table.insert(listed.unfinished, name)
		end
	end
	table.sort(listed.manifests)
	return listed
end

--- Lists all files.
-- @return { wallet -> { manifests: list of sequences, oldest first; records: set of sequences; unfinished: list of
--   names of files that a crash left } } | nil, message
function Folder:list()
	local wallets, message = entries_of(self.path)
	if not wallets then return nil, message end
	local listing = {}
	for wallet in pairs(wallets) do
		if names.is_wallet(wallet) then
			listing[wallet], message = list_wallet(self, wallet)
			if not listing[wallet] then return nil, message end
		end
	end
	return listing
end

--- Reads a file. @return body | nil, message, code
function Folder:read(wallet, sequence, kind)
	return native.read_file(path_of(self, wallet, sequence, kind), MAX_FILE)
end

-- Makes this secret's folder, and a wallet's in it. Returns true | nil, message.
local function make_folders(self, wallet)
	for _, path in ipairs({ self.path, wallet and self.path .. "/" .. wallet }) do
		local ok, message = on_pool.call(uv.fs_mkdir, path, MODE)
		if not ok and not message:find("^EEXIST") then return nil, reason_of(message) end
	end
	return true
end

--- Writes a new file. Another place takes its SHA-256 in hexadecimal, too.
-- @return true | nil, message, code (ERR_STATE: there is such a file)
function Folder:write(wallet, sequence, kind, body)
	local ok, message, code = make_folders(self, wallet)
	if ok then ok, message, code = native.write_new_file(path_of(self, wallet, sequence, kind), body) end
	if not ok then return nil, message, code end
	return true
end

--- Writes a new file beside the wallets' folders, under a name of its own. @return as Folder:write
function Folder:write_beside(name, body)
	local ok, message, code = make_folders(self)
	if ok then ok, message, code = native.write_new_file(self.path .. "/" .. name, body) end
	if not ok then return nil, message, code end
	return true
end

local function unlink(path)
	local ok, message = on_pool.call(uv.fs_unlink, path)
	if not ok and not message:find("^ENOENT") then return nil, reason_of(message) end
	return true
end

--- Removes a file; one that is gone is fine. @return true | nil, message
function Folder:remove(wallet, sequence, kind)
	return unlink(path_of(self, wallet, sequence, kind))
end

--- Removes what a crash left of a file, by its name in list(). @return true | nil, message
function Folder:remove_unfinished(wallet, name)
	return unlink(("%s/%s/%s"):format(self.path, wallet, name))
end

--- Removes a wallet's folder when it is empty.
function Folder:remove_wallet(wallet)
	on_pool.call(uv.fs_rmdir, self.path .. "/" .. wallet)
end

--- Opens a place; the folder must exist.
-- @return function(secret) -> that secret's place | nil, message
function M.open(path)
	local stat = uv.fs_stat(path)
	if not stat or stat.type ~= "directory" then
		return nil, ("SNAPSHOT: %s is not a folder: make or mount it before the node starts"):format(path)
	end
	return function(secret)
		return setmetatable({ path = path .. "/" .. names.of_secret(secret) }, Folder)
	end
end

return M
