--- Fake Odyn services as processes of their own (`nova-kms devnet-odyn`): start, stop, start again.

local uv = require("luv")
local files = require("spec.support.files")
local http = require("spec.support.http")
local node = require("spec.support.node")
local wait = require("spec.support.wait")

local M = {}

local Odyn = {}
Odyn.__index = Odyn

local START_S = 120
local STOP_S = 60

--- Starts the process, and waits until it answers.
function Odyn:run()
	local log = assert(uv.fs_open(self.dir .. "/odyn.log", "a", 384))
	local arguments = { "devnet-odyn", "--seed", self.dir .. "/odyn.seed", "--bind", "127.0.0.1:" .. self.port }
	if self.storage then table.move({ "--storage", self.storage }, 1, 2, #arguments + 1, arguments) end
	self.process = node.spawn(arguments, { env = {}, uid = self.uid }, log, log)
	uv.fs_close(log)
	local function answers()
		local response = http.get(self.port, "/v1/eth/address")
		return response and response.status == 200
	end
	wait.holds(function() return self.process.code or answers() end, START_S)
	if answers() then return self end
	self:kill()
	error("the fake Odyn service does not answer; its log:\n" .. (files.read(self.dir .. "/odyn.log") or ""), 2)
end

--- Sends it a signal, "sigstop" for instance.
function Odyn:signal(name)
	uv.kill(self.process.pid, name)
end

--- Ends the process at once; run() starts it again with the same keys.
function Odyn:kill()
	if not self.process.code then uv.kill(self.process.pid, "sigkill") end
	node.reap(self.process, STOP_S)
end

--- Ends it for good.
function Odyn:stop()
	self:kill()
	if not self.keep then files.remove_dir(self.dir) end
end

--- Starts one with keys of its own.
-- @param options optional: dir (a folder that stays, with the keys), uid (who runs it), storage (folder of its storage)
-- @return fake {port, url, dir}
function M.start(options)
	options = options or {}
	local self = setmetatable({
		dir = options.dir or files.temp_dir(), keep = options.dir ~= nil, uid = options.uid, port = node.free_port(),
		storage = options.storage,
	}, Odyn)
	self.url = "http://127.0.0.1:" .. self.port
	return self:run()
end

return M
