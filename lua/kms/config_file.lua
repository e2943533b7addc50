--- Reads a configuration file: Lua assignments, run where they can reach nothing.
-- Text only, an empty environment, no string methods, a bound on instructions and on
-- memory: a damaged or hostile file fails with one line, it cannot hang or call out.

local uv = require("luv")

local M = {}

local MAX_BYTES = 256 * 1024
local MAX_INSTRUCTIONS = 20000
local MAX_GROWTH_KB = 64 * 1024

local function read_all(path)
	-- Asked first, since opening a named pipe would wait for its writer.
	local stat, message, code = uv.fs_stat(path)
	if not stat then return nil, ("%s: cannot be read: %s"):format(path, message), code end
	if stat.type ~= "file" then return nil, ("%s: is not a file (%s)"):format(path, stat.type) end
	local file, reason = io.open(path, "rb")
	if not file then return nil, ("%s: cannot be read: %s"):format(path, (reason:gsub("^.*: ", ""))) end
	local text = file:read(MAX_BYTES + 1) or ""
	file:close()
	if #text > MAX_BYTES then return nil, ("%s: is larger than %d bytes"):format(path, MAX_BYTES) end
	return text
end

--- The environment of the file: only what the file itself has set, and nothing twice.
-- String methods are away while it runs, hence string.format.
local function new_environment()
	local values, order = {}, {}
	local environment = setmetatable({}, {
		__index = function(_, name)
			-- Nil would make `not IN_ENCLAVE` true where IN_ENCLAVE is left at its default.
			if values[name] == nil then error(string.format("'%s' is not set above", name), 2) end
			return values[name]
		end,
		__newindex = function(_, name, value)
			if values[name] ~= nil then error(string.format("%s is set twice", name), 2) end
			if value ~= nil then order[#order + 1] = name end
			values[name] = value
		end,
	})
	return environment, values, order
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
	local ok, message = pcall(function()
		debug.sethook(new_limiter(), "", 1)
		chunk()
		debug.sethook()
	end)
	debug.sethook(hook, mask, count)
	debug.setmetatable("", string_meta)
	if ok then return true end
	return nil, type(message) == "string" and message or "it raises an error"
end

--- One line of a message from Lua: path:line in front, nothing in it that could be a secret.
local function located(path, message)
	local line, text = message:match("^config:(%d+):%s*(.*)$")
	text = M.mask((text or message):gsub("%c+", " "))
	return line and ("%s:%s: %s"):format(path, line, text) or ("%s: %s"):format(path, text)
end

--- Hides what may be a key: runs of 64 and more hexadecimal digits.
function M.mask(text)
	return (text:gsub("%x+", function(digits) return #digits >= 64 and "***" or nil end))
end

--- Reads a configuration file.
-- @param path  of the file
-- @return table of the values by name, list of the names in their order;
--         or nil, message (one line), and "ENOENT" when the file does not exist
function M.read(path)
	local text, message, code = read_all(path)
	if not text then return nil, message, code end
	local environment, values, order = new_environment()
	local chunk, syntax = load(text, "=config", "t", environment)
	if not chunk then return nil, located(path, syntax) end
	local ok, failure = run_bounded(chunk)
	if not ok then return nil, located(path, failure) end
	return values, order
end

return M
