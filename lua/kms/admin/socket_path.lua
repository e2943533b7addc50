--- The place of a node's control socket.

local M = {}

local FILE = "/control.sock"

--- The path that a configuration (CONTROL_SOCKET, DATA_DIR, IN_ENCLAVE) gives.
-- @return path | nil: there is no control socket
function M.path(config)
	local path = config.CONTROL_SOCKET
	if path == "off" or path == "auto" and config.IN_ENCLAVE then return nil end
	return path == "auto" and config.DATA_DIR .. FILE or path
end

return M
