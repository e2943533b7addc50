--- Where a node's control socket is.

local M = {}

local FILE = "/control.sock"

--- The path by a configuration; nil where there is none.
function M.path(config)
	local path = config.CONTROL_SOCKET
	if path == "off" or path == "auto" and config.IN_ENCLAVE then return nil end
	return path == "auto" and config.DATA_DIR .. FILE or path
end

return M
