--- Where the connections of an HTTP server come from: a TCP port, or a Unix socket, whose callers
-- the kernel names.

local uv = require("luv")
local files = require("kms.base.files")
local native = require("kms_native")

local M = {}

M.MAX_PATH = 107 - #".new" -- bytes that the kernel takes, less what the name is made under

local OWNER_ONLY = 384 -- 0600

local Tcp = {}
Tcp.__index = Tcp

--- Takes a connection that waits.
-- @return handle, text that names its address | nil where it has gone again
function Tcp:accept()
	local client = assert(uv.new_tcp())
	local peer = self.handle:accept(client) and client:getpeername()
	if not peer then
		client:close()
		return nil
	end
	client:nodelay(true)
	return client, peer.ip
end

--- The port that is open, or nil.
function Tcp:port()
	local name = self.handle:getsockname()
	return name and name.port
end

function Tcp:close()
	self.handle:close()
end

--- A TCP port.
-- @param port 0: any free one
-- @return listener, which does not listen yet | nil, message
function M.tcp(host, port)
	local handle = assert(uv.new_tcp())
	local called, ok, message = pcall(handle.bind, handle, host, port)
	if not called then ok, message = nil, ok end
	if ok then return setmetatable({ handle = handle }, Tcp) end
	handle:close()
	return nil, message
end

local Unix = {}
Unix.__index = Unix

--- As for TCP; besides, who called: { uid, pid }.
function Unix:accept()
	local client = assert(uv.new_pipe(false))
	local uid, pid
	if self.handle:accept(client) then uid, pid = native.peer_credentials(client:fileno()) end
	if not uid then
		client:close()
		return nil
	end
	return client, "unix", { uid = uid, pid = pid }
end

function Unix:port() -- luacheck: no self
	return nil
end

local function identity(path)
	local stat = uv.fs_lstat(path)
	return stat and ("%d/%d"):format(stat.dev, stat.ino), stat
end

--- Closes it and removes its name, unless that is another one's by now.
function Unix:close()
	self.handle:close()
	if identity(self.path) == self.identity then uv.fs_unlink(self.path) end
end

-- Whether nobody listens on a socket any more: only that refusal says so, whatever else goes wrong
-- does not. The attempt never waits: both ends are on this machine.
local function is_stale(path)
	local probe, settled, failure = assert(uv.new_pipe(false)), false, nil
	probe:connect(path, function(message) settled, failure = true, message end)
	while not settled do uv.run("once") end
	probe:close()
	return failure == "ECONNREFUSED"
end

-- Whether a name is free, or that of a socket that nobody listens on any more.
local function is_available(path)
	local _, stat = identity(path)
	if not stat then return true end
	if stat.type ~= "socket" then return nil, path .. " is there and is no socket" end
	if is_stale(path) then return true end
	return nil, path .. ": another process listens there"
end

-- Made under another name and renamed, so that it never is there with other rights than 0600, and
-- a stale one is replaced in one step. Nobody can connect before `listen`.
local function bind(handle, path)
	local temporary = path .. ".new"
	uv.fs_unlink(temporary)
	local called, ok, message = pcall(handle.bind, handle, temporary)
	if not called then ok, message = nil, ok end
	if ok then ok, message = uv.fs_chmod(temporary, OWNER_ONLY) end
	if ok then ok, message = uv.fs_rename(temporary, path) end
	return ok, message
end

--- A Unix socket of mode 0600, in a folder that only this user or root can write to.
-- @return listener, which does not listen yet | nil, message
function M.unix(path)
	if #path > M.MAX_PATH then return nil, ("%s: longer than %d bytes"):format(path, M.MAX_PATH) end
	local ok, message = files.check_dir(path:match("^(.*)/[^/]*$") or ".")
	if ok then ok, message = is_available(path) end
	if not ok then return nil, message end
	local handle = assert(uv.new_pipe(false))
	ok, message = bind(handle, path)
	if ok then return setmetatable({ handle = handle, path = path, identity = identity(path) }, Unix) end
	handle:close()
	return nil, message
end

return M
