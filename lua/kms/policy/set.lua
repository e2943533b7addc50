--- One set of policies: sources loaded into a VM, checked, tried. Building one touches
-- nothing that is in use.

local hooks = require("kms.policy.hooks")
local lines = require("kms.policy.source_lines")
local schema = require("kms.policy.schema")
local shape = require("kms.policy.validate")
local sources_of = require("kms.policy.sources")

local M = {}

local Set = {}
Set.__index = Set

-- What a call of a hook may use. A hook of a few lines takes some 50 instructions.
local LIMITS = { memory = 4 << 20, instructions = 50000 }

local MAX_OVERRUNS = 4 -- hooks that run too long, until no more are tried

local SAMPLE_MS = 1700000000000

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
		sources_of.note(mistakes, source.path, line, text)
		return nil
	end
	local data
	data, message = vm:read(name)
	if not data then
		sources_of.note(mistakes, source.path, nil, message)
		return nil
	end
	self.data[name] = data
	self.places[name] = lines.of(source.text)
	local wrong = {}
	shape.check(data, schema.SHAPES[name], function(path, text)
		wrong[path:match("^%.?[%a_]*")] = true
		sources_of.note(mistakes, source.path, line_of(self.places[name], path), text)
	end)
	return wrong
end

local function try_hook(self, vm, path, hook, mistakes)
	if self.overruns >= MAX_OVERRUNS then return end
	local name = path:match("^%a+")
	local seen = {}
	for _, sample in ipairs(hook.samples) do
		local result, message, _, why = vm:call(path, hook.kind, SAMPLE_MS, SAMPLE_MS, table.unpack(sample, 1, #sample))
		if result == nil and not seen[message] then
			seen[message] = true
			local line, text = located(name, message)
			sources_of.note(mistakes, self.sources[name].path, line, ("%s fails when it is tried: %s"):format(path, text))
		end
		-- A node that reloads serves others meanwhile: once is enough of what takes all that it may.
		if why == "overrun" or why == "memory" then
			self.overruns = self.overruns + 1
			break
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

--- A VM that is as new, from sources that have been loaded before; which may fail this time: one
-- loads that takes about as much as it may. Then the VM before stays.
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

--- Builds a set. What it is tried with leaves no trace in it.
-- @param sources  of kms.policy.sources
-- @param options  native, buckets, store (for the VM), memory, instructions, trace
-- @return set | nil, list of mistakes { path, line, text }
function M.build(sources, options)
	local self = setmetatable({ sources = sources, options = options, data = {}, places = {}, overruns = 0 }, Set)
	local mistakes = {}
	local trial = { native = options.native, memory = options.memory, instructions = options.instructions }
	local vm = new_vm(trial)
	try_all(self, vm, load_all(self, vm, mistakes), mistakes)
	vm:close()
	if #mistakes > 0 then return nil, mistakes end
	self.hash = sources_of.hash(options.native, sources)
	local ok, message, name = self:renew()
	if ok then return self end
	local line, text = located(name, message)
	sources_of.note(mistakes, sources[name].path, line, text)
	return nil, mistakes
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

return M
