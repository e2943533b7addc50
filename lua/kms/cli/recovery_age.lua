--- Runs the standard program `age`, whose plaintext goes straight into guarded memory. `timeout` of coreutils ends it
-- where it hangs: reading what it prints blocks.

local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local M = {}

local MAX_CHALLENGE = 4096 -- bytes of its age file: what every pipe takes without a reader
local MISSING = "cannot run 'age': install it (Debian: apt install age), from https://age-encryption.org"
local KILLED_S = 5 -- from the signal to end until the one that cannot be ignored
-- Exit codes of `timeout`: no such program; it was ended; it was killed.
local NO_PROGRAM, ENDED, KILLED = 127, 124, 137

-- A pipe whose write end has the bytes in it. Returns the read end | nil, message.
local function filled_pipe(bytes)
	local ends, message = uv.pipe()
	if not ends then return nil, message end
	local ok
	ok, message = uv.fs_write(ends.write, bytes)
	uv.fs_close(ends.write)
	if ok == #bytes then return ends.read end
	uv.fs_close(ends.read)
	return nil, message or "the file is too long"
end

-- Starts age -d. Returns the end of a pipe to read from, a wake-up call that its end gives, a table whose `code` is set
-- then | nil, message.
local function start(key, stdin, share_file)
	local out, message = uv.pipe()
	if not out then return nil, message end
	local ended, result = wakeup.new(), {}
	-- In the foreground: age may ask for a passphrase on the terminal.
	local args = {
		"--foreground", "--kill-after=" .. KILLED_S, tostring(key.limit_s), "age", "-d", "-i", key.file, share_file,
	}
	local handle
	handle, message = uv.spawn("timeout", { args = args, stdio = { stdin, out.write, 2 } }, function(code)
		result.code = code
		result.handle:close()
		ended:wake()
	end)
	uv.fs_close(out.write)
	if not handle then
		uv.fs_close(out.read)
		return nil, message:find("ENOENT", 1, true) and MISSING or message
	end
	result.handle = handle
	return out.read, ended, result
end

-- What an exit code of age or of timeout says.
local function failure_of(code, limit_s)
	if code == NO_PROGRAM then return MISSING end
	if code == ENDED or code == KILLED then
		return ("age did not end within %d s (--age-timeout): does it wait for a passphrase or a token?"):format(limit_s)
	end
	return "age could not decrypt it: is it your file, and your key? (it said why, above)"
end

-- Decrypts, and has read(fd, ...) take what age prints. Yields. Returns what it returned | nil, message, code.
local function decrypt(key, stdin, share_file, read, ...)
	local fd, ended, result = start(key, stdin, share_file)
	if stdin then uv.fs_close(stdin) end
	if not fd then
		local message = ended
		return nil, message, "ERR_USAGE"
	end
	local value, message, code = read(fd, ...)
	uv.fs_close(fd)
	ended:wait()
	if result.code ~= 0 then return nil, failure_of(result.code, key.limit_s), "ERR_USAGE" end
	return value, message, code
end

--- The option that bounds a run of age.
M.TIMEOUT = {
	name = "age-timeout", value = "SECONDS", help = "how long age may take, with your passphrase or token", type = "int",
	min = 1, max = 3600, default = 300,
}

--- A custodian's private key, as the command line names it.
-- @param parsed  identity (what age -i takes), age_timeout
function M.key(parsed)
	return { file = parsed.identity, limit_s = parsed.age_timeout }
end

--- Opens a custodian's share. Yields.
-- @param key  of M.key; @param share_file  age file
-- @return share (native.recovery_read_share) | nil, message, code
function M.share(native, key, share_file)
	return decrypt(key, nil, share_file, native.recovery_read_share)
end

--- Opens a node's challenge. Yields.
-- @param key  of M.key; @param file  text of the age file; @param wallet  of the node; @param x  the custodian's number
-- @return challenge (native.recovery_read_challenge) | nil, message, code
function M.challenge(native, key, file, wallet, x)
	if #file > MAX_CHALLENGE then return nil, "the node's challenge is too long to be one", "ERR_UNVERIFIED" end
	local stdin, message = filled_pipe(file)
	if not stdin then return nil, message, "ERR_SYSTEM" end
	return decrypt(key, stdin, nil, native.recovery_read_challenge, wallet, x)
end

return M
