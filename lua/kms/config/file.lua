--- Reads a configuration file: Lua that returns one table, run where it can reach nothing.
-- Text only, an empty environment, no string methods, a bound on instructions and on
-- memory: a damaged or hostile file fails with one line, it cannot hang or call out.

local uv = require("luv")

local text = require("kms.base.text")

local M = {}

local MAX_BYTES = 256 * 1024
local MAX_INSTRUCTIONS = 20000
local MAX_GROWTH_KB = 64 * 1024

local function read_all(path)
	-- Asked first, since opening a named pipe would wait for its writer.
	local stat, message, code = uv.fs_stat(path)
	if not stat then
		return nil, ("%s: cannot be read: %s"):format(path, message:match("^%u+: ([^:]+)") or message), code
	end
	if stat.type ~= "file" then return nil, ("%s: is not a file (%s)"):format(path, stat.type) end
	local file, reason = io.open(path, "rb")
	if not file then return nil, ("%s: cannot be read: %s"):format(path, (reason:gsub("^.*: ", ""))) end
	local source = file:read(MAX_BYTES + 1) or ""
	file:close()
	if #source > MAX_BYTES then return nil, ("%s: is larger than %d bytes"):format(path, MAX_BYTES) end
	return source
end

--- The environment of the file: nothing. String methods are away, hence string.format.
local function refuse(_, name)
	-- Nil instead would make `not IN_ENCLAVE` true where IN_ENCLAVE is left at its default.
	error(string.format("'%s' is not known here: the file returns one table of keys", name), 2)
end

--- A hook for each instruction, which stops what runs too long or grows too large. It raises
-- once: the few instructions until it is taken away must not raise again.
local function new_limiter()
	local left, stopped = MAX_INSTRUCTIONS, false
	local limit_kb = collectgarbage("count") + MAX_GROWTH_KB
	return function()
		left = left - 1
		local too_long, too_large = left < 0, collectgarbage("count") > limit_kb
		if stopped or not (too_long or too_large) then return end
		stopped = true
		error(too_long and "it runs too long" or "it needs too much memory", 2)
	end
end

--- Runs `chunk` with a bound on instructions and memory and without string methods.
local function run_bounded(chunk)
	local string_meta = debug.getmetatable("")
	local hook, mask, count = debug.gethook()
	debug.setmetatable("", nil) -- ("x"):rep(1e9) would be one instruction
	local ok, result = pcall(function()
		debug.sethook(new_limiter(), "", 1)
		local value = chunk()
		debug.sethook()
		return value
	end)
	debug.sethook(hook, mask, count)
	debug.setmetatable("", string_meta)
	if ok and type(result) == "table" then return result end
	if ok then return nil, "it does not return a table of keys" end
	return nil, type(result) == "string" and result or "it raises an error"
end

--- One line of a message from Lua: path:line in front, nothing in it that could be a secret.
local function located(path, message)
	local line, reason = message:match("^config:(%d+):%s*(.*)$")
	reason = text.mask_keys(text.utf8(reason or message):gsub("%c+", " "))
	return line and ("%s:%s: %s"):format(path, line, reason) or ("%s: %s"):format(path, reason)
end

--- Reads a configuration file.
-- @param path  of the file
-- @return table of the values by name; or nil, message (one line), and "ENOENT" when the file
--         does not exist
function M.read(path)
	local source, message, code = read_all(path)
	if not source then return nil, message, code end
	local environment = setmetatable({}, { __index = refuse, __newindex = refuse })
	local chunk, syntax = load(source, "=config", "t", environment)
	if not chunk then return nil, located(path, syntax) end
	local values, failure = run_bounded(chunk)
	if not values then return nil, located(path, failure) end
	return values
end

return M
