--- Child processes of a devnet. The kernel ends each one when its parent ends (PR_SET_PDEATHSIG).
-- Functions that wait yield.

local loop = require("kms.base.loop")
local uv = require("luv")

local M = {}

local Process = {}
Process.__index = Process

local POLL_MS = 10
local KILLED_MS = 10000 -- for a killed process to end

local function environment(env)
	local list = {}
	for name, value in pairs(env) do list[#list + 1] = name .. "=" .. tostring(value) end
	return list
end

local function spawn(self, options, output)
	local args = { "--pdeathsig", "KILL", options.program }
	table.move(options.args, 1, #options.args, #args + 1, args)
	local message
	self.handle, message = uv.spawn("setpriv", {
		args = args, env = environment(options.env), stdio = { nil, output, output },
		-- In its own session: Ctrl-C reaches only the devnet, which stops its children in order.
		detached = true,
	}, loop.guard(function(code, signal)
		self.code, self.signal = code, signal
		loop.close(self.handle)
		if options.on_end and not self.stopped then options.on_end(self) end
	end))
	if not self.handle then return nil, "cannot start setpriv (util-linux): " .. message end
	self.pid, self.started_ms = message, loop.now()
	return self
end

--- Starts a program.
-- @param options  program; args; env: its whole environment; log: file that its output is appended to;
--   on_end(process): called when it ends before stop() or kill()
-- @return process { pid, started_ms (loop time), log; code and signal after its end } | nil, message
function M.start(options)
	local output, failure = uv.fs_open(options.log, "a", 384) -- 0600
	if not output then return nil, failure end
	local self, message = spawn(setmetatable({ log = options.log }, Process), options, output)
	uv.fs_close(output)
	return self, message
end

--- Whether the process runs.
function Process:alive()
	return self.code == nil
end

--- How the process ended, as a phrase for messages.
function Process:ending()
	if self.signal ~= 0 then return "was ended by signal " .. self.signal end
	return "ended with status " .. self.code
end

--- Waits for the end of the process.
-- @return true | false: the deadline has passed
function Process:wait(timeout_ms)
	local deadline = uv.hrtime() + timeout_ms * 1000000
	while self.code == nil do
		if uv.hrtime() > deadline then return false end
		loop.sleep(POLL_MS)
	end
	return true
end

--- Kills the process; later calls do nothing.
function Process:kill()
	self.stopped = true
	if self.code == nil then self.handle:kill("sigkill") end
	self:wait(KILLED_MS)
end

--- Sends SIGTERM, and kills the process where it does not end within `grace_ms`.
-- @return whether SIGTERM was enough
function Process:stop(grace_ms)
	self.stopped = true
	if self.code == nil then self.handle:kill("sigterm") end
	if self:wait(grace_ms) then return true end
	self:kill()
	return false
end

return M
