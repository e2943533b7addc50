--- One set of policies: sources, loaded into a VM, checked, tried, hashed. Building one touches
-- nothing that is in use.

local hooks = require("kms.policy.hooks")
local lines = require("kms.policy.lines")
local schema = require("kms.policy.schema")
local shape = require("kms.policy.shape")
local uv = require("luv")

local M = {}

local Set = {}
Set.__index = Set

local MAX_BYTES = 256 * 1024
local MAX_MISTAKES = 100
local MAX_STRAYS = 1000 -- entries of a folder that are looked at

-- What a call of a hook may use. A hook of a few lines takes some 50 instructions.
local LIMITS = { memory = 4 << 20, instructions = 50000 }

local SAMPLE_MS = 1700000000000

-- ---- sources ------------------------------------------------------------------------------

local function read_file(path)
	local stat, message, code = uv.fs_stat(path)
	if not stat then return nil, code ~= "ENOENT" and message:gsub("^%u+: ([^:]+).*$", "%1") or nil end
	if stat.type ~= "file" then return nil, "is not a file" end
	local file, reason = io.open(path, "rb")
	if not file then return nil, (reason:gsub("^.*: ", "")) end
	local source = file:read(MAX_BYTES + 1) or ""
	file:close()
	if #source > MAX_BYTES then return nil, "is larger than 256 KiB" end
	return source
end

local function note(mistakes, path, line, text)
	if #mistakes >= MAX_MISTAKES then return end
	mistakes[#mistakes + 1] = { path = path, line = line, text = text }
end

-- A file whose name is nearly that of a policy would silently do nothing.
local function find_strays(dir, mistakes)
	local nearest, known = require("kms.nearest"), {}
	for i, name in ipairs(schema.NAMES) do known[i] = name .. ".lua" end
	local scan, seen, count = uv.fs_scandir(dir), {}, 0
	for _, name in ipairs(known) do seen[name] = true end
	for name in function() return scan and uv.fs_scandir_next(scan) end do
		count = count + 1
		if count > MAX_STRAYS then break end
		if name:find("%.lua$") and not seen[name] and not name:find("_spec%.lua$") then
			local near = nearest.find(name, known)
			note(mistakes, dir .. "/" .. name, nil, "is no policy file" .. (near and (", the nearest is " .. near) or ""))
		end
	end
end

--- Reads the four files: those of `dir`, and the shipped ones for those that are missing there.
-- @param dir      folder of the operator, or nil; missing is fine
-- @param shipped  folder of the defaults
-- @return sources: name -> { text, path, shipped }, list of mistakes
function M.read(dir, shipped)
	local sources, mistakes = {}, {}
	for _, name in ipairs(schema.NAMES) do
		local path, text, wrong = nil, nil, nil
		if dir then
			path = dir .. "/" .. name .. ".lua"
			text, wrong = read_file(path)
		end
		if wrong then note(mistakes, path, nil, wrong) end
		local is_shipped = not text
		if is_shipped then
			path = shipped .. "/" .. name .. ".lua"
			text = read_file(path)
		end
		if not text then note(mistakes, path, nil, "the shipped policy is missing") end
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
	return native.sha256(table.concat(parts))
end

-- ---- building ------------------------------------------------------------------------------

local function new_vm(options)
	return assert(options.native.policy_vm({
		memory = options.memory or LIMITS.memory, instructions = options.instructions or LIMITS.instructions,
		buckets = options.buckets, store = options.store, facts = hooks.facts(), trace = options.trace or false,
	}))
end

-- "access.lua:12: text" as line and text.
local function located(name, message)
	local line, text = message:match("^" .. name .. "%.lua:(%d+): (.*)$")
	return tonumber(line), text or message
end

-- Line of the innermost member of a path that has one.
local function line_of(places, path)
	while path ~= "" do
		if places[path] then return places[path] end
		path = path:match("^(.*)[.[][^.[]*$") or ""
	end
	return nil
end

-- Loads a file and checks what it returned.
-- @return the members that have mistakes (".derive" -> true); or nil where nothing can be tried
local function load_one(self, vm, name, mistakes)
	local source = self.sources[name]
	local ok, message = vm:load(name, source.text)
	if not ok then
		local line, text = located(name, message)
		note(mistakes, source.path, line, text)
		return nil
	end
	local data
	data, message = vm:read(name)
	if not data then
		note(mistakes, source.path, nil, message)
		return nil
	end
	self.data[name] = data
	self.places[name] = lines.of(source.text)
	local wrong = {}
	shape.check(data, schema.SHAPES[name], function(path, text)
		wrong[path:match("^%.?[%a_]*")] = true
		note(mistakes, source.path, line_of(self.places[name], path), text)
	end)
	return wrong
end

local function try_hook(self, vm, path, hook, mistakes)
	local name = path:match("^%a+")
	local seen = {}
	for _, sample in ipairs(hook.samples) do
		local result, message = vm:call(path, hook.kind, SAMPLE_MS, SAMPLE_MS, table.unpack(sample, 1, #sample))
		if result == nil and not seen[message] then
			seen[message] = true
			local line, text = located(name, message)
			note(mistakes, self.sources[name].path, line, ("%s fails when it is tried: %s"):format(path, text))
		end
	end
end

-- Tries every hook that is there and has the right shape, also where others have not.
local function try_all(self, vm, wrong, mistakes)
	for _, path in ipairs(hooks.paths()) do
		local name, key = path:match("^(%a+)(%..*)$")
		if wrong[name] and not wrong[name][key] then try_hook(self, vm, path, hooks.HOOKS[path], mistakes) end
	end
	if not wrong.routes or wrong.routes[".extra"] then return end
	for i in ipairs(self.data.routes.extra or {}) do
		try_hook(self, vm, ("routes.extra.%d.handler"):format(i), hooks.EXTRA, mistakes)
	end
end

local function load_all(self, vm, mistakes)
	local wrong = {}
	for _, name in ipairs(schema.NAMES) do wrong[name] = load_one(self, vm, name, mistakes) end
	return wrong
end

--- A VM that is as new, from sources that are known to be good.
function Set:renew()
	local vm = new_vm(self.options)
	for _, name in ipairs(schema.NAMES) do assert(vm:load(name, self.sources[name].text)) end
	if self.vm then self.vm:close() end
	self.vm = vm
end

--- Builds a set. What it is tried with leaves no trace in it.
-- @param sources  of M.read
-- @param options  native, buckets, store (for the VM), memory, instructions, trace
-- @return set | nil, list of mistakes { path, line, text }
function M.build(sources, options)
	local self = setmetatable({ sources = sources, options = options, data = {}, places = {} }, Set)
	local mistakes = {}
	local trial = { native = options.native, memory = options.memory, instructions = options.instructions }
	local vm = new_vm(trial)
	try_all(self, vm, load_all(self, vm, mistakes), mistakes)
	vm:close()
	if #mistakes > 0 then return nil, mistakes end
	self.hash = M.hash(options.native, sources)
	self:renew()
	return self
end

--- Whether the set has a hook of its own.
function Set:has(path)
	local name, key = path:match("^(%a+)%.([%a_]+)")
	return self.data[name][key] ~= nil
end

--- Line of a member ("access", ".derive[2]"), or nil.
function Set:line(name, path)
	return line_of(self.places[name], path)
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
