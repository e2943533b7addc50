--- What a node's wallet signs of its audit log, for the node and for whoever verifies.

local M = {}

--- How many lines may stand between the one that a signature names and the signature's own line.
M.SPAN = 65536

--- The text that is signed (EIP-191).
-- @param wallet of the node; @param run 16 digits of the line that began the run; @param sequence, hash of the last
--   line that is signed; @param time_ms of the signature
function M.text(wallet, run, sequence, hash, time_ms)
	return ("NovaKMS:Audit:%s:%s:%d:%s:%d"):format(wallet, run, sequence, hash, time_ms)
end

return M
