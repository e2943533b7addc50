--- A set of policies: the four files, loaded into a VM, checked and tried. Building a set changes nothing that is
-- in use.

local hooks = require("kms.policy.hooks")
local schema = require("kms.policy.schema")
local source_lines = require("kms.policy.source_lines")
local sources = require("kms.policy.sources")
local validate = require("kms.policy.validate")

local M = {}

local Set = {}
Set.__index = Set

-- Bytes, and units of work of one call (csrc/policy/vm.h). A hook of a few lines spends about 50 units.
local LIMITS = { memory = 4 << 20, instructions = 50000 }

local MAX_OVERRUNS = 4 -- after so many hooks that ran too long, no more are tried

local SAMPLE_MS = 1700000000000 -- the time when hooks are tried

local function new_vm(options)
	return assert(options.native.policy_vm({
		memory = options.memory or LIMITS.memory, instructions = options.instructions or LIMITS.instructions,
		buckets = options.buckets, store = options.store, facts = hooks.facts(), trace = options.trace or false,
	}))
end

-- Splits "access.lua:12: text". Returns line (or nil), text.
local function split_place(name, message)
	local line, text = message:match("^" .. name .. "%.lua:(%d+): (.*)$")
	return tonumber(line), text or message
end

-- The line of a member or, when it has none, of the innermost member around it that has one.
local function line_of(lines, path)
	while path ~= "" do
		if lines[path] then return lines[path] end
		path = path:match("^(.*)[.[][^.[]*$") or ""
	end
	return nil
end

-- Loads a file and checks the table that it returns.
-- @return set of members with mistakes (".derive" -> true) | nil: there is nothing to try
local function load_file(self, vm, name, mistakes)
	local source = self.sources[name]
	local ok, message = vm:load(name, source.text)
	if not ok then
		local line, text = split_place(name, message)
		sources.add_mistake(mistakes, source.path, line, text)
		return nil
	end
	local data
	data, message = vm:read(name)
	if not data then
		sources.add_mistake(mistakes, source.path, nil, message)
		return nil
	end
	self.data[name] = data
	self.lines[name] = source_lines.of(source.text)
	local wrong = {}
	validate.check(data, schema.SHAPES[name], function(path, text)
		wrong[path:match("^%.?[%a_]*")] = true
		sources.add_mistake(mistakes, source.path, line_of(self.lines[name], path), text)
	end)
	return wrong
end

local function try_hook(self, vm, path, hook, mistakes)
	if self.overruns >= MAX_OVERRUNS then return end
	local name, member = path:match("^(%a+)(%..*)$")
	member = member:gsub("%.(%d+)", "[%1]")
	local seen = {}
	for _, sample in ipairs(hook.samples) do
		local result, message, _, why = vm:call(path, hook.kind, SAMPLE_MS, SAMPLE_MS, table.unpack(sample, 1, #sample))
		if result == nil and not seen[message] then
			seen[message] = true
			local line, text = split_place(name, message)
			sources.add_mistake(mistakes, self.sources[name].path, line or self:line(name, member),
				("%s fails when it is tried: %s"):format(path, text))
		end
		-- A node serves while it reloads: a hook that used up its budget is not tried again.
		if why == "overrun" or why == "memory" then
			self.overruns = self.overruns + 1
			break
		end
	end
end

-- Tries every hook that has the right shape, also when others have mistakes.
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
	for _, name in ipairs(schema.NAMES) do wrong[name] = load_file(self, vm, name, mistakes) end
	return wrong
end

--- Replaces the VM by a new one, loaded from the same sources. When a file that takes about as much as it may
-- fails to load this time, the VM before stays.
-- @return true | nil, message, name of the file
function Set:renew()
	local vm = new_vm(self.options)
	for _, name in ipairs(schema.NAMES) do
		local ok, message = vm:load(name, self.sources[name].text)
		if not ok then
			vm:close()
			return nil, message, name
		end
	end
	if self.vm then self.vm:close() end
	self.vm = vm
	return true
end

--- Builds a set. It is tried in a VM of its own, so that the trial leaves nothing behind.
-- @param read     of kms.policy.sources
-- @param options  native; buckets, store, trace (as of policy_vm), or nil; memory and instructions (limits), or nil
-- @return set: sources, data (by file, what it returned), hash, vm | nil, list of mistakes { path, line, text }
function M.build(read, options)
	local self = setmetatable({ sources = read, options = options, data = {}, lines = {}, overruns = 0 }, Set)
	local mistakes = {}
	local trial = { native = options.native, memory = options.memory, instructions = options.instructions }
	local vm = new_vm(trial)
	try_all(self, vm, load_all(self, vm, mistakes), mistakes)
	vm:close()
	if #mistakes > 0 then return nil, mistakes end
	self.hash = sources.hash(options.native, read)
	local ok, message, name = self:renew()
	if ok then return self end
	local line, text = split_place(name, message)
	sources.add_mistake(mistakes, read[name].path, line, text)
	return nil, mistakes
end

--- Whether the set has a hook.
-- @param path of the hook ("access.derive")
function Set:has(path)
	local name, key = path:match("^(%a+)%.([%a_]+)")
	return self.data[name][key] ~= nil
end

--- The line of a member.
-- @param name of the file ("access")
-- @param path of the member (".derive[2]")
-- @return line | nil
function Set:line(name, path)
	return line_of(self.lines[name], path)
end

return M
