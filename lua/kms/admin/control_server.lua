--- The control socket: HTTP on a Unix socket that only this user and root may speak to. What can be
-- asked there is in kms.admin.commands; no answer holds a secret, and each command is logged with
-- who gave it.

local uv = require("luv")
local err = require("kms.base.err")
local commands = require("kms.admin.commands")
local router = require("kms.http.router")
local small_server = require("kms.http.small_server")

local M = {}

local Control = {}
Control.__index = Control

local function not_routed(why, allow)
	if why == "not_found" then return err.reply("ERR_NO_ROUTE") end
	return err.reply("ERR_METHOD", "use one of: " .. allow, { Allow = allow })
end

local function answer(self, request)
	local route, rest, allow = self.router:match(request.method, request.path)
	local reply
	if not route then
		reply = not_routed(rest, allow)
	elseif request.has_body then
		reply = err.reply("ERR_BAD_REQUEST", "commands have no body")
	else
		reply = route.handler(self.node, rest)
	end
	self.log:log(route and not route.reads and "info" or "debug", "control", {
		command = route and route.name or "none", status = reply.status, uid = request.caller.uid, pid = request.caller.pid,
		argument = route and rest and #rest <= 64 and rest or nil, outcome = reply.outcome,
	})
	return reply.status, reply.headers, reply.body
end

-- The mode of the socket keeps others out; this does where somebody has changed it.
local function admit(self, caller)
	if caller.uid == 0 or caller.uid == uv.getuid() then return true end
	self.log:limited("control", 10, "warn", "control refused", { uid = caller.uid, pid = caller.pid })
	return false
end

--- Opens the socket.
-- @param node of kms.node, whole; @param path
-- @return control | nil, message
function M.open(node, path)
	local self = setmetatable({ node = node, log = node.log, router = router.new(commands.routes()) }, Control)
	self.server = small_server.new({
		handler = function(request) return answer(self, request) end, log = node.log,
		admit = function(caller) return admit(self, caller) end, config = node.config,
	})
	local ok, message = self.server:listen_unix(path)
	if not ok then return nil, "cannot open the control socket: " .. message end
	self.log:info("control socket", { path = path })
	return self
end

--- Closes it and removes its file; on_stopped is called once.
function Control:stop(on_stopped)
	self.server:stop(on_stopped)
end

return M
