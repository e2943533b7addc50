--- The files of a set of policies: where they are read, what is hashed of them, and how mistakes in
-- them are told.

local files = require("kms.base.files")
local schema = require("kms.policy.schema")
local suggest = require("kms.base.suggest")
local uv = require("luv")

local M = {}

local MAX_BYTES = 256 * 1024
local MAX_MISTAKES = 100
local MAX_STRAYS = 1000 -- entries of a folder that are looked at

-- Whoever can write to a policy decides who gets the secret, as far as the protocol lets them; so
-- only who runs the node, root, and whose the node's own files are may.
-- @return nil, or what is wrong
local function distrust(stat, owner)
	if stat.mode & 2 ~= 0 then return "can be written by every user" end
	if stat.uid ~= 0 and stat.uid ~= uv.getuid() and stat.uid ~= owner then return "belongs to another user" end
end

-- @param owner of the shipped files; nil: no matter whose it is
-- @return text | nil, reason; nil alone where there is no file
local function read_file(path, owner)
	local source, reason, code = files.read(path, MAX_BYTES, owner and function(stat) return distrust(stat, owner) end)
	if not source and code ~= "ENOENT" then return nil, reason end
	return source
end

--- Adds a mistake to a list.
function M.note(mistakes, path, line, text)
	if #mistakes >= MAX_MISTAKES then return end
	mistakes[#mistakes + 1] = { path = path, line = line, text = text }
end

-- A file whose name is nearly that of a policy would silently do nothing.
local function find_strays(dir, mistakes)
	local known = {}
	for i, name in ipairs(schema.NAMES) do known[i] = name .. ".lua" end
	local scan, seen, count = uv.fs_scandir(dir), {}, 0
	for _, name in ipairs(known) do seen[name] = true end
	for name in function() return scan and uv.fs_scandir_next(scan) end do
		count = count + 1
		if count > MAX_STRAYS then break end
		if name:find("%.lua$") and not seen[name] and not name:find("_spec%.lua$") then
			local near = suggest.nearest(name, known)
			M.note(mistakes, dir .. "/" .. name, nil, "is no policy file" .. (near and (", the nearest is " .. near) or ""))
		end
	end
end

-- The owner of the shipped files, where those of `dir` are others; and what is wrong with `dir`.
local function check_dir(dir, shipped)
	local stat, own = dir and uv.fs_stat(dir), uv.fs_stat(shipped)
	if not stat or not own or (stat.ino == own.ino and stat.dev == own.dev) then return nil end
	return own.uid, distrust(stat, own.uid)
end

--- Reads the four files: those of `dir`, and the shipped ones for those that are missing there.
-- @param dir      folder of the operator, or nil; missing is fine
-- @param shipped  folder of the defaults
-- @return sources: name -> { text, path, shipped }, list of mistakes
function M.read(dir, shipped)
	local sources, mistakes = {}, {}
	local owner, distrusted = check_dir(dir, shipped)
	if distrusted then M.note(mistakes, dir, nil, distrusted) end
	for _, name in ipairs(schema.NAMES) do
		local path, text, wrong = nil, nil, nil
		if dir then
			path = dir .. "/" .. name .. ".lua"
			text, wrong = read_file(path, owner)
		end
		if wrong then M.note(mistakes, path, nil, wrong) end
		local is_shipped = not text
		if is_shipped then
			path = shipped .. "/" .. name .. ".lua"
			text = read_file(path)
		end
		if not text then M.note(mistakes, path, nil, "the shipped policy is missing") end
		sources[name] = { text = text or "return {}", path = path, shipped = is_shipped }
	end
	if dir then find_strays(dir, mistakes) end
	return sources, mistakes
end

--- SHA-256 over the names and contents of a set, wherever the files lie.
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

--- Mistakes as lines, "path:line: text", in the order of the files.
function M.lines(mistakes)
	local list = {}
	table.sort(mistakes, before)
	for i, mistake in ipairs(mistakes) do
		local where = mistake.line and ("%s:%d"):format(mistake.path, mistake.line) or mistake.path
		list[i] = ("%s: %s"):format(where, mistake.text)
	end
	return list
end

return M
