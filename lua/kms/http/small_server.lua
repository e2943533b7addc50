--- A small HTTP server beside the public one, for metrics and the control socket: few connections, short
-- heads, short timeouts. Its bodies count against the memory of all bodies.

local http = require("kms.http.server")

local M = {}

local CONNECTIONS = 16
local LIMITS = {
	MAX_CONNECTIONS = CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = CONNECTIONS, MAX_HEADER_BYTES = 4096,
	FIRST_BYTE_TIMEOUT_SECONDS = 5, HEADER_TIMEOUT_SECONDS = 5, BODY_TIMEOUT_SECONDS = 5, WRITE_TIMEOUT_SECONDS = 10,
	SHUTDOWN_TIMEOUT_SECONDS = 1,
}

--- @param options  handler, log, admit: as kms.http.server takes them; config: of the node
-- @return kms.http.server that is not listening yet
function M.new(options)
	local config = options.config
	return http.new({
		handler = options.handler, log = options.log, admit = options.admit,
		config = setmetatable({}, { __index = function(_, name) return LIMITS[name] or config[name] end }),
	})
end

return M
