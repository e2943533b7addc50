--- What a node's operator sees and steers: /metrics and the control socket. Where a place is the
-- default and taken, the node runs without; where it was named, it does not start.

local config = require("kms.config")
local control_server = require("kms.admin.control_server")
local loop = require("kms.base.loop")
local metrics = require("kms.admin.metrics")
local metrics_node = require("kms.admin.metrics.node")
local metrics_policy = require("kms.admin.metrics.policy")
local metrics_process = require("kms.admin.metrics.process")
local metrics_requests = require("kms.admin.metrics.requests")
local metrics_server = require("kms.admin.metrics.server")
local metrics_services = require("kms.admin.metrics.services")
local socket_path = require("kms.admin.socket_path")

local M = {}

-- Whether a node may start without what could not be opened.
local function dispensable(node, key, message)
	if config.origin(node.config, key) ~= "default" then return nil, message end
	node.log:warn("configuration", { note = ("%s; going on without, since %s is not set"):format(message, key) })
	return true
end

local function open_metrics(node)
	if node.config.METRICS_ADDR == "off" then return true end
	local message
	node.metrics_server, message = metrics_server.open({ set = node.metrics, config = node.config, log = node.log })
	if node.metrics_server then return true end
	return dispensable(node, "METRICS_ADDR", message)
end

local function open_control(node)
	local path = socket_path.path(node.config)
	if not path then return true end
	local message
	node.control, message = control_server.open(node, path)
	if node.control then return true end
	return dispensable(node, "CONTROL_SOCKET", message)
end

--- Makes node.metrics and node.requests, before the node listens.
-- @param routes list of { name }; what an operator adds to them counts as one
function M.measure(node, routes)
	node.metrics = metrics.new()
	node.requests = metrics_requests.new(node.metrics, routes)
end

--- Opens both. The node is whole, its own port open.
-- @return true | nil, message
function M.open(node)
	local set = node.metrics
	metrics_node.declare(set, node)
	metrics_services.declare(set, node)
	metrics_policy.declare(set, node)
	node.lag_timer = metrics_process.declare(set, node)
	local ok, message = open_metrics(node)
	if ok then ok, message = open_control(node) end
	return ok, message
end

--- Closes both, one after the other; done is called once.
function M.close(node, done)
	loop.close(node.lag_timer)
	local function close_metrics()
		if node.metrics_server then return node.metrics_server:stop(done) end
		done()
	end
	if node.control then return node.control:stop(close_metrics) end
	close_metrics()
end

return M
