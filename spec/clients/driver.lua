--- The driver of a client (spec/clients/README.md): a program that is told operations and says what came of them, a
-- JSON line each. To be used within loopback.run.

local cjson = require("cjson")
local json = require("kms.base.json")
local loopback = require("spec.support.loopback")
local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local ANSWER_S = 50 -- a driver that takes longer has hung

local Driver = {}
Driver.__index = Driver

-- What it has said on its standard error, for messages about failures.
local function said(self)
	return self.errors == "" and "" or "\n" .. self.errors
end

--- Tells the driver a line, and waits for its answer; yields.
-- @param line  table
-- @return the answer as a table, and as text
function Driver:tell(line)
	self.stdin:write(json.encode(line) .. "\n")
	wait.holds(function() return self.output:find("\n", 1, true) or self.code end, ANSWER_S)
	local text, rest = self.output:match("^([^\n]*)\n(.*)$")
	if not text then error(("the driver has not answered (exit code %s)%s"):format(self.code, said(self)), 2) end
	self.output = rest
	local ok, answer = pcall(cjson.decode, text)
	if not ok then error("the driver printed " .. text .. said(self), 2) end
	return answer, text
end

--- Ends it, and waits until it has; yields.
function Driver:stop()
	if not self.stdin:is_closing() then self.stdin:close() end
	if wait.holds(function() return self.code end, ANSWER_S) then return end
	uv.process_kill(self.handle, "sigkill")
	error("the driver did not end at the end of its input" .. said(self), 2)
end

--- Starts it; it ends with this process.
-- @param command  list: program, arguments; @param env  list "NAME=value"
function M.start(command, env)
	local self = setmetatable({ output = "", errors = "" }, Driver)
	local pipes = {}
	for i = 1, 3 do pipes[i] = loopback.own(uv.new_pipe(false)) end
	local args = { "--pdeathsig", "KILL" }
	table.move(command, 1, #command, #args + 1, args)
	local pid
	self.handle, pid = uv.spawn("setpriv", { args = args, env = env, stdio = pipes }, function(code, signal)
		self.code = signal ~= 0 and "signal " .. signal or code
		self.handle:close()
	end)
	assert(self.handle, pid)
	self.stdin = pipes[1]
	pipes[2]:read_start(function(_, data) self.output = self.output .. (data or "") end)
	pipes[3]:read_start(function(_, data) self.errors = self.errors .. (data or "") end)
	return self
end

return M
