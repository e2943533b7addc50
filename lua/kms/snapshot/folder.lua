--- Snapshot files in a folder: <folder>/<hash of the secret>/<wallet>/<file>. Another place has the same methods. They
-- yield; the work is the pool's. The folder may belong to another user: below it no symbolic link is followed, and what
-- is no folder or file of its own is passed over or refused.

local names = require("kms.snapshot.names")
local native = require("kms_native")
local uv = require("luv")

local M = {}

local Folder = {}
Folder.__index = Folder

local MAX_FILE = 64 << 20 -- KMS_SNAPSHOT_MAX_FILE

local function below(self, wallet)
	return self.secret .. "/" .. wallet
end

-- What a failure about a folder is called.
local function message_of(path, message, code)
	if code == "ERR_FILE_FORMAT" then return path .. " is no folder of its own" end
	return code == "ERR_FILE_MISSING" and "no such file or directory" or message
end

-- The entries of a folder: name -> whether it is a folder | nil, message, code. One that does not exist is empty.
local function entries_of(self, path)
	local entries, message, code = native.list_folder(self.base, path)
	if code == "ERR_FILE_MISSING" and uv.fs_stat(self.base) then return {} end
	return entries, message_of(path, message, code), code
end

-- One wallet's files | nil, message, code.
local function list_wallet(self, wallet)
	local entries, message, code = entries_of(self, below(self, wallet))
	if not entries then return nil, message, code end
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
--   names of files that a crash left } } | nil, message, code
function Folder:list()
	local wallets, message, code = entries_of(self, self.secret)
	if not wallets then return nil, message, code end
	local listing, count = {}, 0
	for wallet, is_folder in pairs(wallets) do
		if is_folder and names.is_wallet(wallet) then
			count = count + 1
			if count > names.MAX_WALLETS then return nil, names.TOO_MANY_WALLETS:format("the folder"), "ERR_TOO_LARGE" end
			listing[wallet], message, code = list_wallet(self, wallet)
			if not listing[wallet] then return nil, message, code end
		end
	end
	return listing
end

--- Reads a file. @return body | nil, message, code
function Folder:read(wallet, sequence, kind)
	return native.read_file(self.base, below(self, wallet), names.file(sequence, kind), MAX_FILE)
end

-- Returns true | nil, message, code.
local function write(self, path, name, body)
	local ok, message, code = native.write_new_file(self.base, path, name, body)
	if ok then return true end
	return nil, message_of(path, message, code), code
end

--- Writes a new file. Another place takes its SHA-256 in hexadecimal, too.
-- @return true | nil, message, code (ERR_STATE: there is such a file)
function Folder:write(wallet, sequence, kind, body)
	return write(self, below(self, wallet), names.file(sequence, kind), body)
end

--- Writes a new file beside the wallets' folders, under a name of its own. @return as Folder:write
function Folder:write_beside(name, body)
	return write(self, self.secret, name, body)
end

--- Removes a file; one that is gone is fine. @return true | nil, message, code
function Folder:remove(wallet, sequence, kind)
	return native.remove_file(self.base, below(self, wallet), names.file(sequence, kind))
end

--- Removes what a crash left of a file, by its name in list(). @return true | nil, message, code
function Folder:remove_unfinished(wallet, name)
	return native.remove_file(self.base, below(self, wallet), name)
end

--- Removes a wallet's folder when it is empty.
function Folder:remove_wallet(wallet)
	native.remove_file(self.base, self.secret, wallet, true)
end

--- Opens a place; the folder must exist.
-- @return function(secret) -> that secret's place | nil, message
function M.open(path)
	local stat = uv.fs_stat(path)
	if not stat or stat.type ~= "directory" then
		return nil, ("SNAPSHOT: %s is not a folder: make or mount it before the node starts"):format(path)
	end
	return function(secret)
		return setmetatable({ base = path, secret = names.of_secret(secret) }, Folder)
	end
end

return M
