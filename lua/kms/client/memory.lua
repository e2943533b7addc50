--- Which nodes have had sessions, by wallet: a client never goes back to version 1 with one of them unless it is told
-- to (docs/protocol.md section 15.5). Without a file it is forgotten with the process.
--
-- The file is this user's own, one wallet a line. Whoever can take a line out of it, and sits on the way to the node,
-- makes a client speak version 1: so a file that others can write, or that is not understood, is refused.

local uv = require("luv")
local files = require("kms.base.files")

local M = {}

local MAX_BYTES = 1 << 20
local PRIVATE = 384 -- mode 0600
local OTHERS_WRITE = 18 -- mode bits 022
local STICKY = 512 -- mode bit 01000

local Memory = {}
Memory.__index = Memory

--- Whether a node has had sessions.
-- @param wallet  "0x" and 40 lower-case digits
function Memory:has(wallet)
	return self.wallets[wallet] == true
end

local function append(path, line)
	local ok, message = files.make_dir(path:match("^(.+)/[^/]+$") or ".")
	if not ok then return nil, message end
	local fd
	fd, message = uv.fs_open(path, "a", PRIVATE)
	if not fd then return nil, message end
	-- One write, so that processes beside this one do not mix their lines.
	local written
	written, message = uv.fs_write(fd, line)
	uv.fs_close(fd)
	if written ~= #line then return nil, message or "the line was not written" end
	return true
end

--- Remembers that a node has sessions. A file that cannot be written is reported once, and does without.
function Memory:add(wallet)
	if self.wallets[wallet] then return end
	self.wallets[wallet] = true
	if not self.path then return end
	local ok, message = append(self.path, self.unended .. wallet .. "\n")
	self.unended = ""
	if ok or self.reported then return end
	self.reported = true
	self.report(("cannot remember that node %s has sessions: %s"):format(wallet, message))
end

local function refuse(stat)
	if stat.uid ~= uv.getuid() then return "belongs to another user" end
	if stat.mode & OTHERS_WRITE ~= 0 then return "can be written by other users" end
end

-- Others who may rename and remove what is in the folder could take the file away. Returns reason | nil.
local function refuse_folder(path)
	local stat = uv.fs_stat(path:match("^(.*/)[^/]+$") or ".")
	if not stat then return nil end -- there is none yet
	if stat.uid ~= uv.getuid() and stat.uid ~= 0 then return "is in a folder of another user" end
	if stat.mode & OTHERS_WRITE ~= 0 and stat.mode & STICKY == 0 then
		return "is in a folder that other users can write"
	end
end

local function parse(content)
	local wallets, number = {}, 0
	for line in content:gmatch("([^\n]*)\n?") do
		number = number + 1
		if line:find("^0x%x+$") and #line == 42 then
			wallets[line:lower()] = true
		elseif line ~= "" then
			return nil, ("line %d is not a node's wallet"):format(number)
		end
	end
	return wallets
end

--- A memory of this process alone.
function M.new()
	return setmetatable({ wallets = {} }, Memory)
end

--- The memory in a file, which need not exist yet.
-- @param report  function(message), called once where the file cannot be written
-- @return memory | nil, message, code
function M.open(path, report)
	local exposed = refuse_folder(path)
	if exposed then return nil, path .. ": " .. exposed, "ERR_FILE_MODE" end
	local content, reason, code = files.read(path, MAX_BYTES, refuse)
	if not content and code ~= "ENOENT" then return nil, path .. ": " .. reason, "ERR_FILE_MODE" end
	local wallets, message = parse(content or "")
	if not wallets then return nil, path .. ": " .. message, "ERR_FILE_FORMAT" end
	local unended = content and content:find("[^\n]$") and "\n" or "" -- an editor may have left the last line so
	return setmetatable({ wallets = wallets, path = path, report = report, unended = unended }, Memory)
end

--- Where the file is unless somebody says otherwise: in the user's state folder (XDG Base Directory Specification).
-- @param env  function(name) -> value of the environment
-- @return path | nil: the user has no such folder
function M.default_path(env)
	local state, home = env("XDG_STATE_HOME"), env("HOME")
	if state and state:find("^/") then return state .. "/nova-kms/known-nodes" end
	if home and home:find("^/") then return home .. "/.local/state/nova-kms/known-nodes" end
	return nil
end

return M
