--- The contact with a peer that there is nothing to send to: an empty delta. Its verified response shows that the peer
-- answers, and which features it has. Existing nodes reply to it as to any delta.

local native = require("kms_native")

local M = {}

--- Contacts a peer. Yields.
-- @param exchange kms.sync.exchange; @param writer of kms.sync.message; @param master secret in use
-- @return true: it has answered | nil, message, code of exchange:call
function M.call(exchange, peer, writer, master)
	local response, message, code = exchange:call(peer, function(signature)
		local prefix, suffix = writer:delta(signature)
		return native.text_body(prefix .. "{}" .. suffix)
	end, { master = master })
	if not response then return nil, message, code end
	return true
end

return M
