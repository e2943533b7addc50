--- Whose address a request counts for.

local cidr = require("kms.base.cidr")

local M = {}

-- "1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80" or "::1" without white space, as an address.
local function entry_address(entry)
	local text = entry:match("^%s*(.-)%s*$")
	text = text:match("^%[([^%]]*)%]$") or text:match("^%[([^%]]*)%]:%d+$") or text:match("^([%d.]+):%d+$") or text
	return cidr.parse_address(text) and text
end

--- The client's address: the peer's own, or, where that one is a trusted proxy, the right-most
-- entry of X-Forwarded-For that is not trusted itself. A malformed entry ends the search at the
-- hop before it: whoever wrote further left of it is not known.
-- @param peer  address of the TCP peer
-- @param forwarded  value of X-Forwarded-For (several joined with commas), or nil
-- @param trusted  ranges (kms.base.cidr), or nil
-- @return address
function M.resolve(peer, forwarded, trusted)
	if not forwarded or not trusted or not cidr.contains(trusted, peer) then return peer end
	local hop = peer
	for entry in ("," .. forwarded):reverse():gmatch("([^,]*),") do
		local address = entry_address(entry:reverse())
		if not address then return hop end
		hop = address
		if not cidr.contains(trusted, address) then return hop end
	end
	return hop
end

--- The address that limits count, or nil where there is none to count: behind an enclave's ingress,
-- which dials from loopback for everybody. A loopback address that is a trusted proxy is no
-- such ingress, and a forwarded one never is.
-- @param peer, forwarded, trusted  as for M.resolve; @param in_enclave  boolean
function M.limited(peer, forwarded, trusted, in_enclave)
	local is_proxy = trusted and cidr.contains(trusted, peer)
	if in_enclave and not is_proxy and cidr.is_loopback(peer) then return nil end
	return M.resolve(peer, forwarded, trusted)
end

--- What limits by address count together: an IPv4 address, or the /64 of an IPv6 one.
-- @return bytes; the text itself where it is no address
function M.group(address)
	local bytes = cidr.parse_address(address)
	return bytes and bytes:sub(1, 8) or address
end

--- Whether the address is a loopback one.
function M.is_loopback(address)
	return cidr.is_loopback(address)
end

return M
