--- The control socket: HTTP on a Unix socket that only this process's user and root may use. Its commands are in
-- kms.admin.commands; no reply holds a secret, and each command is logged with its caller's uid and pid.

local uv = require("luv")
local err = require("kms.base.err")
local needs = require("kms.base.needs")
local router = require("kms.http.router")
local small_server = require("kms.http.small_server")

local M = {}

local ControlServer = {}
ControlServer.__index = ControlServer

local MAX_ARGUMENT = 128 -- bytes of a logged argument; the name of a rule has up to 84

local function serve(self, request)
	local route, rest, allow = self.router:match(request.method, request.path)
	local reply
	if not route then
		local why = rest
		reply, rest = router.unrouted(why, allow), nil
	elseif request.has_body then
		reply = err.reply("ERR_BAD_REQUEST", "commands have no body")
	else
		reply = route.handler(rest, request.caller, request.query)
	end
	local argument = rest and #rest <= MAX_ARGUMENT and not route.is_private and rest or nil
	self.log:log(route and not route.reads and "info" or "debug", "control", {
		command = route and route.name or "none", status = reply.status, uid = request.caller.uid, pid = request.caller.pid,
		argument = argument, outcome = reply.outcome,
	})
	if route and not route.reads then
		self.audit:event("command", {
			command = route.name, status = reply.status, uid = request.caller.uid, pid = request.caller.pid,
			argument = argument,
		})
	end
	return reply.status, reply.headers, reply.body
end

-- The mode of the socket file keeps others out; this does so even when the mode was changed.
local function admit(self, caller)
	if caller.uid == 0 or caller.uid == uv.getuid() then return true end
	self.log:limited("control", 10, "warn", "control refused", { uid = caller.uid, pid = caller.pid })
	return false
end

--- Opens the socket.
-- @param deps commands (kms.admin.commands), path, log, audit (kms.audit); config (what kms.http.small_server takes)
-- @return control server | nil, message
function M.open(deps)
	local self = setmetatable(needs.take(deps, "commands path log config audit"), ControlServer)
	self.router = router.new(self.commands:routes())
	self.server = small_server.new({
		handler = function(request) return serve(self, request) end, log = self.log,
		admit = function(caller) return admit(self, caller) end, config = self.config,
	})
	local ok, message = self.server:listen_unix(self.path)
	if not ok then return nil, "cannot open the control socket: " .. message end
	self.log:info("control socket", { path = self.path })
	return self
end

--- Closes the socket and removes its file; on_stopped is called once.
function ControlServer:stop(on_stopped)
	self.server:stop(on_stopped)
end

return M
