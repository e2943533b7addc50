--- The contact with a peer that there is nothing to send to: an empty delta. Its verified response shows that the peer
-- answers, and which features it has. A peer that has announced that it speaks digests gets a shorter one, and replies
-- no more than that it is there. Existing nodes reply as to any delta.

local native = require("kms_native")

local M = {}

--- Contacts a peer. Yields.
-- @param exchange kms.sync.exchange; @param writer of kms.sync.message; @param master secret in use
-- @param peers kms.peers
-- @return true: it has answered | nil, message, code of exchange:call
function M.call(exchange, peer, writer, master, peers)
	local is_short = peer.heard and peers:is_known(peer) and peers:understands(peer, "digest")
	local response, message, code = exchange:call(peer, function(proof)
		if is_short then return native.text_body(writer:contact(proof)) end
		local prefix, suffix = writer:delta(proof)
		return native.text_body(prefix .. "{}" .. suffix)
	end, { master = master })
	if not response then return nil, message, code end
	return true
end

return M
