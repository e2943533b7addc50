--- What a node's operator sees and controls: /metrics and the control socket. A default place that is taken is
-- left out; a place that the operator named and that cannot be opened stops the start.

local config = require("kms.config")
local control_server = require("kms.admin.control_server")
local metrics_server = require("kms.admin.metrics.server")
local needs = require("kms.base.needs")
local socket_path = require("kms.admin.socket_path")

local M = {}

local Admin = {}
Admin.__index = Admin

-- Returns true when the node may start without what could not be opened | nil, message.
local function dispensable(self, key, message)
	if config.origin(self.config, key) ~= "default" then return nil, message end
	self.log:warn("configuration", { note = ("%s; going on without, since %s is not set"):format(message, key) })
	return true
end

local function open_metrics(self)
	if self.config.METRICS_ADDR == "off" then return true end
	local message
	self.metrics_server, message = metrics_server.open({
		set = self.metrics, ui = self.ui, config = self.config, log = self.log,
	})
	if self.metrics_server then return true end
	return dispensable(self, "METRICS_ADDR", message)
end

local function open_control(self)
	local path = socket_path.path(self.config)
	if not path then return true end
	local message
	self.control_server, message = control_server.open({
		commands = self.commands, path = path, log = self.log, config = self.config, audit = self.audit,
	})
	if self.control_server then return true end
	return dispensable(self, "CONTROL_SOCKET", message)
end

--- Opens both, when the node's own port is open.
-- @param deps metrics (kms.admin.metrics), commands (kms.admin.commands), log, audit (kms.audit); ui (kms.admin.ui, or
--   nil); config (METRICS_ADDR, CONTROL_SOCKET)
-- @return admin | nil, message
function M.open(deps)
	local self = setmetatable(needs.take(deps, "metrics commands log config audit", "ui"), Admin)
	local ok, message = open_metrics(self)
	if ok then ok, message = open_control(self) end
	if not ok then return nil, message end
	return self
end

--- Closes both, one after the other; on_closed is called once.
function Admin:close(on_closed)
	local function close_metrics()
		if self.metrics_server then return self.metrics_server:stop(on_closed) end
		on_closed()
	end
	if self.control_server then return self.control_server:stop(close_metrics) end
	close_metrics()
end

return M
