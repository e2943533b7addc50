--- The files of a set of policies: reads them, hashes them, and lists the mistakes in them.

local files = require("kms.base.files")
local schema = require("kms.policy.schema")
local suggest = require("kms.base.suggest")
local uv = require("luv")

local M = {}

local MAX_BYTES = 256 * 1024
local MAX_MISTAKES = 100
local MAX_ENTRIES = 1000 -- of a folder that are searched for misspelt names

-- Why a file or folder is not trusted, or nil. A policy decides who gets the secret, within the protocol. So only
-- the user who runs the node, root and the owner of the node's own files may write one.
local function distrust(stat, owner)
	if stat.mode & 2 ~= 0 then return "can be written by every user" end
	if stat.mode & 16 ~= 0 then return "can be written by its group" end
	if stat.uid ~= 0 and stat.uid ~= uv.getuid() and stat.uid ~= owner then return "belongs to another user" end
end

-- @param owner of the shipped files; nil: any user may own the file
-- @return text | nil: there is no file | nil, reason
local function read_file(path, owner)
	local source, reason, code = files.read(path, MAX_BYTES, owner and function(stat) return distrust(stat, owner) end)
	if not source and code ~= "ENOENT" then return nil, reason end
	return source
end

--- Adds a mistake to a list, which keeps the first 100.
-- @param mistakes list of { path, line, text }
-- @param path of the file
-- @param line number, or nil
-- @param text what is wrong
function M.add_mistake(mistakes, path, line, text)
	if #mistakes >= MAX_MISTAKES then return end
	mistakes[#mistakes + 1] = { path = path, line = line, text = text }
end

-- Reports other Lua files: a policy with a misspelt name would silently have no effect.
local function find_strays(dir, mistakes)
	local known = {}
	for i, name in ipairs(schema.NAMES) do known[i] = name .. ".lua" end
	local seen, count = {}, 0
	for _, name in ipairs(known) do seen[name] = true end
	files.each(dir, function(name)
		count = count + 1
		if count > MAX_ENTRIES then return true end
		if name:find("%.lua$") and not seen[name] and not name:find("_spec%.lua$") then
			local near = suggest.nearest(name, known)
			local hint = near and ", the nearest is " .. near or ""
			M.add_mistake(mistakes, dir .. "/" .. name, nil, "is no policy file" .. hint)
		end
		return false
	end)
end

-- Returns nil when `dir` is the shipped folder; otherwise the owner of the shipped folder, and why `dir` is not
-- trusted (or nil).
local function check_dir(dir, shipped)
	local stat, own = dir and uv.fs_stat(dir), uv.fs_stat(shipped)
	if not stat or not own or (stat.ino == own.ino and stat.dev == own.dev) then return nil end
	return own.uid, distrust(stat, own.uid)
end

-- The folder's identity, or nil: it is no folder.
local function folder_of(dir)
	local stat = uv.fs_stat(dir)
	return stat and stat.type == "directory" and ("%d/%d"):format(stat.dev, stat.ino) or nil
end

-- Reads a file of the operator's folder.
-- @param was whether the set in force has this file, and must not lose it
-- @return text | nil: there is none | nil, what is wrong
local function read_own(path, owner, was)
	local text, wrong = read_file(path, owner)
	if text or wrong then return text, wrong end
	if uv.fs_lstat(path) then return nil, "is a link to a file that is not there" end
	if was then return nil, "is gone: put it back, or tell nova-kms reload to go on without it" end
	return nil
end

--- Reads the four files: from `dir`, or the shipped one when it is missing there. A folder or file that is missing
-- by accident must not put the shipped policies in force, since those allow more.
-- @param dir      the operator's folder, which may be missing unless it is required, or nil
-- @param shipped  folder of the shipped policies
-- @param options  required (boolean: dir must be a folder), was (sources in force, whose files must still be
--   there); or nil
-- @return by name of a file ("access") { text, path, shipped (boolean) }, list of mistakes
function M.read(dir, shipped, options)
	options = options or {}
	local sources, mistakes, was = {}, {}, options.was or {}
	local before = dir and folder_of(dir)
	local owner, distrusted = check_dir(dir, shipped)
	if distrusted then M.add_mistake(mistakes, dir, nil, distrusted) end
	for _, name in ipairs(schema.NAMES) do
		local path, text, wrong = nil, nil, nil
		if dir then
			path = dir .. "/" .. name .. ".lua"
			text, wrong = read_own(path, owner, was[name] and not was[name].shipped)
		end
		if wrong then M.add_mistake(mistakes, path, nil, wrong) end
		local is_shipped = not text
		if is_shipped then
			path = shipped .. "/" .. name .. ".lua"
			text = read_file(path)
		end
		if not text then M.add_mistake(mistakes, path, nil, "the shipped policy is missing") end
		sources[name] = { text = text or "return {}", path = path, shipped = is_shipped }
	end
	if options.required and not before then
		M.add_mistake(mistakes, dir, nil, "is not a folder")
	elseif dir and folder_of(dir) ~= before then
		M.add_mistake(mistakes, dir, nil, "was replaced while its files were read")
	end
	if dir then find_strays(dir, mistakes) end
	return sources, mistakes
end

--- The hash of a set: SHA-256 of the names and contents of its files, not of their folders.
-- @param sources as read returns them
-- @return 64 lower-case hexadecimal digits
function M.hash(native, sources)
	local parts = { ("nova-kms policy %d\n"):format(schema.API) }
	for _, name in ipairs(schema.NAMES) do
		parts[#parts + 1] = ("%s %d\n%s"):format(name, #sources[name].text, sources[name].text)
	end
	return native.hex_encode(native.sha256(table.concat(parts)))
end

local function before(a, b)
	if a.path ~= b.path then return a.path < b.path end
	if (a.line or 0) ~= (b.line or 0) then return (a.line or 0) < (b.line or 0) end
	return a.text < b.text
end

--- Formats mistakes, sorted by file and line.
-- @param mistakes list of { path, line, text }, sorted in place
-- @return list of "path:line: text"
function M.mistake_lines(mistakes)
	local list = {}
	table.sort(mistakes, before)
	for i, mistake in ipairs(mistakes) do
		local where = mistake.line and ("%s:%d"):format(mistake.path, mistake.line) or mistake.path
		list[i] = ("%s: %s"):format(where, mistake.text)
	end
	return list
end

return M
