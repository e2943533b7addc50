--- GET /metrics on a port of its own, never on the public one: it says nothing secret, but more
-- than strangers need to know.

local err = require("kms.base.err")
local loop = require("kms.base.loop")
local metrics_text = require("kms.admin.metrics.text")
local small_server = require("kms.http.small_server")

local M = {}

local FRESH_MS = 100 -- a text is used again for this long: whoever asks in a loop costs little

local Metrics = {}
Metrics.__index = Metrics

local function text_of(self)
	local now = loop.now()
	if not self.text or now - self.made_ms >= FRESH_MS then
		self.text, self.made_ms = self.set:text(loop.try), now
	end
	return self.text
end

local function answer(self, request)
	local reply
	if request.path ~= "/metrics" then
		reply = err.reply("ERR_NO_ROUTE")
	elseif request.method ~= "GET" and request.method ~= "HEAD" then
		reply = err.reply("ERR_METHOD", "use GET", { Allow = "GET, HEAD" })
	else
		return 200, { ["Content-Type"] = metrics_text.CONTENT_TYPE }, text_of(self)
	end
	return reply.status, reply.headers, reply.body
end

--- Opens the port.
-- @param deps set (kms.admin.metrics), config, log
-- @return metrics server | nil, message
function M.open(deps)
	local self = setmetatable({ set = deps.set }, Metrics)
	self.server = small_server.new({
		handler = function(request) return answer(self, request) end, log = deps.log, config = deps.config,
	})
	local address = deps.config.METRICS_ADDR
	local host, port = address:match("^%[?(.-)%]?:(%d+)$")
	local ok, message = self.server:listen(host, tonumber(port))
	if not ok then return nil, ("cannot listen on METRICS_ADDR %s: %s"):format(address, message) end
	deps.log:info("metrics", { address = ("%s:%d"):format(host, self.server:port()) })
	return self
end

--- Closes it; on_stopped is called once.
function Metrics:stop(on_stopped)
	self.server:stop(on_stopped)
end

return M
