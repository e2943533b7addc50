--- Data files: Lua text that returns one table. Reading runs the text where it can reach nothing, with
-- bounds on size, instructions and memory: a damaged or hostile file fails with one line, it
-- can neither hang the process nor call anything.

local files = require("kms.base.files")
local suggest = require("kms.base.suggest")
local text = require("kms.base.text")

local M = {}

local MAX_BYTES = 1 << 20
local MAX_INSTRUCTIONS = 1000000
-- Memory that running a file may take: `{},` (3 bytes) needs most, some 90 bytes.
local BASE_GROWTH_KB, GROWTH_KB_PER_KB = 1024, 64

-- ---- reading ----

-- The file's environment is empty. An unknown name is an error: nil instead would make
-- `not IN_ENCLAVE` true in a file that leaves IN_ENCLAVE at its default. (string.format, since
-- strings have no methods while a file runs.)
local function refuse(_, name)
	error(string.format("'%s' is not known here: the file returns one table", name), 2)
end

-- Returns a hook for each instruction that stops the file at its limits. It raises once: the
-- instructions between the error and the hook's removal must not raise again.
local function new_limiter(max_instructions, max_growth_kb)
	local left, stopped = max_instructions, false
	local limit_kb = collectgarbage("count") + max_growth_kb
	return function()
		left = left - 1
		local too_long, too_large = left < 0, collectgarbage("count") > limit_kb
		if stopped or not (too_long or too_large) then return end
		stopped = true
		error(too_long and "it runs too long" or "it needs too much memory", 2)
	end
end

-- Runs chunk() with `limiter` as a hook and without string methods: ("x"):rep(1e9) is one instruction.
local function run_bounded(chunk, limiter)
	local string_meta = debug.getmetatable("")
	local hook, mask, count = debug.gethook()
	debug.setmetatable("", nil)
	local ok, result = pcall(function()
		debug.sethook(limiter, "", 1)
		local value = chunk()
		debug.sethook()
		return value
	end)
	debug.sethook(hook, mask, count)
	debug.setmetatable("", string_meta)
	if ok and type(result) == "table" then return result end
	if ok then return nil, "it does not return a table" end
	return nil, type(result) == "string" and result or "it raises an error"
end

-- A message of Lua's as one line that begins with the path; digits that may be a secret are masked.
local function located(path, message)
	local line, reason = message:match("^data:(%d+):%s*(.*)$")
	reason = text.mask_keys(text.utf8(reason or message):gsub("%c+", " "))
	return line and ("%s:%s: %s"):format(path, line, reason) or ("%s: %s"):format(path, reason)
end

--- Reads a data file.
-- @param path  of a regular file
-- @param limits  max_bytes (1 MiB), max_instructions (a million); or nil
-- @return table | nil, message (one line that begins with the path), code ("ENOENT" where the file does
--   not exist)
function M.read(path, limits)
	limits = limits or {}
	local source, reason, code = files.read(path, limits.max_bytes or MAX_BYTES)
	if not source then return nil, ("%s: %s"):format(path, reason), code end
	local environment = setmetatable({}, { __index = refuse, __newindex = refuse })
	local chunk, syntax = load(source, "=data", "t", environment)
	if not chunk then return nil, located(path, syntax) end
	local growth_kb = BASE_GROWTH_KB + GROWTH_KB_PER_KB * #source // 1024
	local values, failure = run_bounded(chunk, new_limiter(limits.max_instructions or MAX_INSTRUCTIONS, growth_kb))
	if not values then return nil, located(path, failure) end
	return values
end

-- ---- checking ----

--- Refuses the first member of a table that is not one of `known`.
-- @param where  the table, as the message calls it
-- @return true | nil, message, which suggests a member with a similar name
function M.refuse_unknown(t, known, where)
	for key in pairs(t) do
		local found = false
		for _, name in ipairs(known) do found = found or name == key end
		if not found then
			local near = type(key) == "string" and suggest.nearest(key, known)
			return nil, ("%s: unknown member '%s'%s"):format(where, tostring(key),
				near and (", did you mean '%s'?"):format(near) or "")
		end
	end
	return true
end

--- Whether a value is a list without gaps and other members, of `min` to `max` entries.
function M.is_list(value, min, max)
	if type(value) ~= "table" then return false end
	local count = 0
	for _ in pairs(value) do count = count + 1 end
	return count == #value and count >= min and count <= max
end

-- ---- writing ----

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

--- Writes a table so that read() gives it back (kms.base.files.replace).
-- @param header  comment at the start of the file, with its line feed; @param data  tables, strings, numbers, booleans
-- @return true | nil, message
function M.write(path, header, data)
	local out = { header, "return " }
	write_value(out, data, "")
	out[#out + 1] = "\n"
	return files.replace(path, table.concat(out))
end

return M
