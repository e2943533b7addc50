--- The longest value that every member can take. Existing nodes take shorter bodies than this node; a value that does
-- not reach them leaves the value before it in service there.

local M = {}

--- Bytes of records in a push to an existing node: hexadecimal makes an envelope twice as long, and an existing
-- node takes 2 MiB; a body has up to 4096 bytes besides its records.
M.EXISTING_BYTES = 1044480

local SEAL_BYTES = 28 -- IV and tag
local ESCAPE = 6 -- most bytes that JSON needs for one byte of a key
local RECORD_BYTES = 1024 -- of a record besides key and value: its clock has an entry for each member that wrote it
local NAMED = 3 -- members that a message names

--- Says which members cannot take a record.
-- @param peers kms.peers
-- @param key_len, value_len bytes
-- @return message for the application, or nil: every member can
function M.refusal(peers, key_len, value_len)
	if 2 * (value_len + SEAL_BYTES) + ESCAPE * key_len + RECORD_BYTES <= M.EXISTING_BYTES then return nil end
	local wallets = {}
	for _, peer in ipairs(peers:others()) do
		if peers:is_known(peer) and not peers:understands(peer, "store") then wallets[#wallets + 1] = peer.wallet end
	end
	if #wallets == 0 then return nil end
	local named = table.concat(wallets, ", ", 1, math.min(#wallets, NAMED))
	local more = #wallets > NAMED and (" and %d more"):format(#wallets - NAMED) or ""
	return ("value too large for members %s%s"):format(named, more)
end

return M
