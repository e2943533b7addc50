--- A folder of policies and what opens it without a node: a clock that stands still, a log that keeps its lines.

local files = require("spec.support.files")
local native = require("spec.support.native")
local policy = require("kms.policy")

local M = {}

M.SHIPPED = "config/policy"

--- Facts of a derive request, and of any request.
M.FACTS = {
	route = "derive", app_id = "7", version_id = "1", instance_id = "2", wallet = "0x" .. ("a"):rep(40),
	remote = "192.0.2.1", now = 1, path = "p", context = "", length = 32,
}
M.REQUEST = {
	route = "derive", app_id = "7", version_id = "1", instance_id = "2", wallet = "0x" .. ("a"):rep(40),
	remote = "192.0.2.1", now = 1,
}

local Kit = {}
Kit.__index = Kit

-- Limits lines as the real log does.
local function new_log(lines)
	local seen = {}
	local log = {}
	function log.enabled() return true end
	local function line(level) return function(_, event, fields)
		lines[#lines + 1] = { level = level, event = event, fields = fields }
	end end
	log.info, log.error, log.warn = line("info"), line("error"), line("warn")
	function log.log(_, level, event, fields) line(level)(nil, event, fields) end
	function log.name(_, name) return "hash of " .. #name .. " bytes" end
	function log.limited(_, key, _, level, event, fields)
		if not seen[key] then line(level)(nil, event, fields) end
		seen[key] = true
	end
	return log
end

--- @return kit: dir, now_ms (settable), lines (of the log)
function M.new()
	return setmetatable({ dir = files.temp_dir(), now_ms = 1000000, lines = {} }, Kit)
end

function Kit:write(name, text)
	files.write(self.dir .. "/" .. name .. ".lua", text)
end

--- Opens the folder as kms.policy.open does.
function Kit:open(options)
	local function clock() return self.now_ms end
	local given = {
		native = native, dir = self.dir, shipped = M.SHIPPED, wall_ms = clock, mono_ms = clock, log = new_log(self.lines),
	}
	for name, value in pairs(options or {}) do given[name] = value end
	return policy.open(given)
end

--- The mistakes of a file, without the folder.
function Kit:mistakes_of(name, text)
	self:write(name, text)
	local opened, mistakes = self:open()
	if opened then error("no mistake was found", 2) end
	for i, line in ipairs(mistakes) do mistakes[i] = line:gsub("^" .. self.dir:gsub("%p", "%%%0") .. "/", "") end
	return mistakes
end

--- The lines of the log about an event.
function Kit:logged(event)
	local found = {}
	for _, line in ipairs(self.lines) do
		if line.event == event then found[#found + 1] = line end
	end
	return found
end

function Kit:remove()
	files.remove_dir(self.dir)
end

return M
