--- Runs the table of cases with the driver of a client (spec/clients/README.md).

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local driver_of = require("spec.clients.driver")
local faults = require("spec.clients.faults")
local files = require("spec.support.files")
local json = require("kms.base.json")
local loopback = require("spec.support.loopback")
local wait = require("spec.support.wait")
local world_of = require("spec.clients.world")

local M = {}

local TABLE = "spec/clients/cases.json"
local TIMEOUT_MS = 20000 -- of requests of cases that name none

-- ---- texts of the table -----------------------------------------------------------------------------------

local SHORTHANDS = {
	["$list"] = function(arguments)
		local list = { table.unpack(arguments, 3) }
		for _ = 1, arguments[1] do table.insert(list, 1, arguments[2]) end
		return list
	end,
	["$repeat"] = function(arguments) return arguments[1]:rep(arguments[2]) end,
	["$zeros"] = function(count) return crypto.base64(("\0"):rep(count)) end,
	["$random"] = function(count) return crypto.base64(crypto.random(count)) end,
}

-- What a value of the table stands for.
local function expand(value)
	if type(value) ~= "table" then return value end
	local name, argument = next(value)
	if SHORTHANDS[name] then return SHORTHANDS[name](argument) end
	local out = {}
	for key, member in pairs(value) do out[key] = expand(member) end
	return #value == 0 and next(value) == nil and value or setmetatable(out, getmetatable(value))
end

-- Where a value lacks what the expected one has, or nil; lists must be of the same length.
local function difference(expected, value, where)
	if type(expected) ~= "table" then
		if expected == value then return nil end
		return ("%s is %s, not %s"):format(where, tostring(value):sub(1, 200), tostring(expected):sub(1, 200))
	end
	if type(value) ~= "table" then
		return ("%s is %s, not an object or list"):format(where, tostring(value):sub(1, 200))
	end
	if (#expected > 0 or next(expected) == nil and #value > 0) and #expected ~= #value then
		return ("%s has %d items, not %d"):format(where, #value, #expected)
	end
	for key, member in pairs(expected) do
		local found = difference(member, value[key], where .. "." .. key)
		if found then return found end
	end
end

-- ---- steps ------------------------------------------------------------------------------------------------

-- Members of a step that are the runner's.
local RUNNERS = { expect = true, save = true, same = true, differs = true, absent = true }

local function fail(run, format, ...)
	error(("step %d: %s"):format(run.number, format:format(...)), 0)
end

local function check_variables(run, step, ok)
	for _, how in ipairs({ "same", "differs" }) do
		for name, member in pairs(step[how] or {}) do
			local equal = run.variables[name] == ok[member]
			if equal ~= (how == "same") then
				fail(run, "%s is %s as %s", member, equal and "the same" or "not the same", name)
			end
		end
	end
	for name, member in pairs(step.save or {}) do
		if ok[member] == nil then fail(run, "the answer has no %s", member) end
		run.variables[name] = ok[member]
	end
end

local function tell(run, step)
	local line = {}
	for name, value in pairs(step) do
		if not RUNNERS[name] then line[name] = expand(value) end
	end
	if line.operations then json.list(line.operations) end
	local answer, text = run.driver:tell(line)
	local found = difference(expand(step.expect or { ok = {} }), answer, "the answer")
	if found then fail(run, "%s: %s", found, text:sub(1, 600)) end
	if step.absent and text:find(step.absent, 1, true) then
		fail(run, "the answer has %q: %s", step.absent, text:sub(1, 600))
	end
	check_variables(run, step, type(answer.ok) == "table" and answer.ok or {})
end

local function open(run, options, expected)
	local line = { ["do"] = "open", seed = run.seed, timeout_ms = TIMEOUT_MS, nodes = run.nodes, chain = run.chain }
	for name, value in pairs(options) do line[name] = expand(value) end
	line.pins = nil
	for name, value in pairs(line.chain_change or {}) do line.chain[name] = value end
	line.chain_change = nil
	if line.known_nodes then line.known_nodes = run.dir .. "/" .. line.known_nodes end
	local answer, text = run.driver:tell(line)
	local found = difference(expected or { ok = {} }, answer, "the answer to open")
	if found then fail(run, "%s: %s", found, text) end
end

local function seen(run, step)
	local between = run.between[step.node or 1]
	for path, expected in pairs(step.seen) do
		local count = between:count(path)
		local least, most = expected, expected
		if type(expected) == "table" then least, most = expected[1], expected[2] end
		if count < least or count > most then
			fail(run, "%d requests to %s, not %s", count, path, least == most and least or least .. " to " .. most)
		end
	end
	between:forget()
end

local function set_faults(run, list)
	for i, between in pairs(run.between) do
		local own = {}
		for _, fault in ipairs(list) do
			if (fault.node or 1) == i then own[#own + 1] = fault end
		end
		between:set(own)
	end
end

local function step_of(run, step)
	if step["do"] then return tell(run, step) end
	if step.faults then return set_faults(run, step.faults) end
	if step.seen then return seen(run, step) end
	if step.reopen then
		for name, value in pairs(step.reopen) do run.options[name] = value end
		return open(run, run.options)
	end
	if step.pause_ms then return wait.sleep(step.pause_ms) end
	if not step.open_expect then fail(run, "is none") end
end

-- ---- cases ------------------------------------------------------------------------------------------------

-- Stands before the nodes of a case.
local function stand_between(run, world, case)
	for i, kind in ipairs(case.nodes or { "node" }) do
		local node = world:node(kind, run.app)
		local entry = { url = node.url }
		if node.port and kind ~= "nobody" then
			run.between[i] = faults.start(node.port)
			entry.url = run.between[i].url
		end
		if run.options.pins then
			entry.wallet = run.options.pins == "wrong" and "0x" .. ("12"):rep(20) or node.wallet
			entry.pubkey = crypto.hex(node.der)
		end
		run.nodes[i] = entry
	end
end

-- chain, seed: of a case on a chain.
local function run_case(case, world, command, env, chain, seed)
	local run = {
		options = expand(case.open or {}), nodes = {}, between = {}, variables = {}, number = 0, dir = files.temp_dir(),
	}
	run.app = world:app(case.name)
	run.seed = run.app.seed
	if chain then
		run.nodes, run.chain, run.seed = nil, chain, seed
	else
		stand_between(run, world, case)
	end
	set_faults(run, case.faults or {})
	run.driver = driver_of.start(command, env)
	open(run, run.options, (case.steps[1] or {}).open_expect)
	for number, step in ipairs(case.steps) do
		run.number = number
		step_of(run, step)
	end
	run.driver:stop()
	files.remove_dir(run.dir)
end

--- The cases of the table.
function M.read()
	return cjson.decode(assert(files.read(TABLE)))
end

--- Describes a client by the table. To be called in a spec's describe.
-- @param client  its name in the table's `not_for`
-- @param command  list: the driver's program and arguments
-- @param env  list "NAME=value" of the driver, or nil
-- @param busted  the spec's setup, teardown, it and pending, which are not globals of modules
function M.describe(client, command, env, busted)
	local cases, world = M.read(), nil

	busted.setup(function() world = world_of.start(cases) end)
	busted.teardown(function()
		if world then world:stop() end
	end)

	for _, case in ipairs(cases) do
		if not (case.not_for and case.not_for[client]) then
			busted.it(case.name, function()
				local chain, seed
				if (case.nodes or {})[1] == "chain" then
					-- A cluster takes longer to start than a test may.
					chain, seed = world:chain()
					if not chain then return busted.pending(seed) end
				end
				loopback.run(function() run_case(case, world, command, env or {}, chain, seed) end)
			end)
		end
	end
end

return M
