--- Listeners of an HTTP server: a TCP port, or a Unix socket, whose callers the kernel identifies.

local uv = require("luv")
local files = require("kms.base.files")
local native = require("kms_native")

local M = {}

--- Longest path of a Unix socket in bytes: the kernel's limit, less the suffix of its temporary name.
M.MAX_PATH = 107 - #".new"

local OWNER_ONLY = 384 -- 0600

local Tcp = {}
Tcp.__index = Tcp

--- Accepts a waiting connection.
-- @return handle, address (text) | nil: the client has gone
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

--- The port, or nil.
function Tcp:port()
	local name = self.handle:getsockname()
	return name and name.port
end

--- Stops listening.
function Tcp:close()
	self.handle:close()
end

--- Binds a TCP port.
-- @param host  address; @param port  0: any free port
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

--- Accepts a waiting connection.
-- @return handle, "unix", caller { uid, pid } | nil: the client has gone
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

--- nil: there is no port.
function Unix:port() -- luacheck: no self
	return nil
end

local function identity(path)
	local stat = uv.fs_lstat(path)
	return stat and ("%d/%d"):format(stat.dev, stat.ino), stat
end

--- Stops listening, and removes the socket's name unless another socket has it by now.
function Unix:close()
	self.handle:close()
	if identity(self.path) == self.identity then uv.fs_unlink(self.path) end
end

-- Whether no process listens on a socket: only ECONNREFUSED proves that. Connecting does not wait, since
-- both ends are on this machine.
local function is_stale(path)
	local probe, settled, failure = assert(uv.new_pipe(false)), false, nil
	probe:connect(path, function(message) settled, failure = true, message end)
	while not settled do uv.run("once") end
	probe:close()
	return failure == "ECONNREFUSED"
end

-- Whether a name is free, or belongs to a socket that no process listens on. Returns true | nil, message.
local function is_available(path)
	local _, stat = identity(path)
	if not stat then return true end
	if stat.type ~= "socket" then return nil, path .. " exists and is not a socket" end
	if is_stale(path) then return true end
	return nil, path .. ": another process listens there"
end

-- Binds under a temporary name, then renames: the socket never appears with other rights than 0600, and a
-- stale one is replaced in one step. Connecting is not possible before `listen`.
local function bind(handle, path)
	local temporary = path .. ".new"
	uv.fs_unlink(temporary)
	local called, ok, message = pcall(handle.bind, handle, temporary)
	if not called then ok, message = nil, ok end
	if ok then ok, message = uv.fs_chmod(temporary, OWNER_ONLY) end
	if ok then ok, message = uv.fs_rename(temporary, path) end
	return ok, message
end

--- Binds a Unix socket of mode 0600, in a folder that only this user and root can write to.
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
