--- GET /metrics and the status page (kms.admin.ui), on a port of its own: it shows nothing secret, but more than the
-- public needs to know.

local err = require("kms.base.err")
local host = require("kms.http.host")
local loop = require("kms.base.loop")
local metrics_text = require("kms.admin.metrics.text")
local needs = require("kms.base.needs")
local router = require("kms.http.router")
local small_server = require("kms.http.small_server")

local M = {}

local HEADERS = { ["Content-Type"] = metrics_text.CONTENT_TYPE }
local FRESH_MS = 100 -- how long a text is reused, so that a client in a loop costs little

local MetricsServer = {}
MetricsServer.__index = MetricsServer

local function text_of(self)
	local now = loop.now()
	if not self.text or now - self.made_ms >= FRESH_MS then
		self.text, self.made_ms = self.set:text(loop.try), now
	end
	return self.text
end

local function serve(self, request)
	local reply
	if self.on_loopback and not host.is_local(request:host()) then
		reply = err.reply("ERR_FORBIDDEN", "Host must be an address or localhost")
	else
		local route, why, allow = self.router:match(request.method, request.path)
		reply = route and route.handler() or router.unrouted(why, allow)
	end
	return reply.status, reply.headers, reply.body
end

--- Opens the port.
-- @param deps set (kms.admin.metrics), log; ui (kms.admin.ui, or nil); config
-- (METRICS_ADDR, and what kms.http.small_server takes)
-- @return metrics server | nil, message
function M.open(deps)
	local self = setmetatable(needs.take(deps, "set config log", "ui"), MetricsServer)
	local routes = self.ui and self.ui:routes() or {}
	routes[#routes + 1] = { name = "metrics", method = "GET", path = "/metrics", handler = function()
		return { status = 200, headers = HEADERS, body = text_of(self) }
	end }
	self.router = router.new(routes)
	self.server = small_server.new({
		handler = function(request) return serve(self, request) end, log = self.log, config = self.config,
	})
	local address = self.config.METRICS_ADDR
	self.on_loopback = host.is_loopback(address)
	local name, port = address:match("^%[?(.-)%]?:(%d+)$")
	local ok, message = self.server:listen(name, tonumber(port))
	if not ok then return nil, ("cannot listen on METRICS_ADDR %s: %s"):format(address, message) end
	self.log:info("metrics", { address = ("%s:%d"):format(name, self.server:port()) })
	return self
end

--- Closes the port; on_stopped is called once.
function MetricsServer:stop(on_stopped)
	self.server:stop(on_stopped)
end

return M
