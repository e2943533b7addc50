--- The address of a client: behind proxies, for rate limits, and what it shares with others.

local cidr = require("kms.base.cidr")
local native = require("kms_native")

local M = {}

-- The address of an entry "1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80" or "::1", or nil.
local function entry_address(entry)
	local text = entry:match("^%s*(.-)%s*$")
	text = text:match("^%[([^%]]*)%]$") or text:match("^%[([^%]]*)%]:%d+$") or text:match("^([%d.]+):%d+$") or text
	return cidr.parse_address(text) and text
end

--- The client's address: the TCP peer's, or where that is a trusted proxy, the right-most entry of
-- X-Forwarded-For that is not a trusted proxy. A malformed entry ends the search at the hop before
-- it, since entries further left may be forged.
-- @param peer  address of the TCP peer
-- @param forwarded  X-Forwarded-For, several joined with commas, or nil
-- @param trusted  ranges of trusted proxies (kms.base.cidr), or nil
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

--- The client address to rate-limit by; nil behind an enclave's ingress, which connects from loopback for
-- all clients. A loopback address that is a trusted proxy is not an ingress; a forwarded address
-- never is.
-- @param peer, forwarded, trusted  as for resolve(); @param in_enclave  IN_ENCLAVE
-- @return address | nil
function M.limited(peer, forwarded, trusted, in_enclave)
	local is_proxy = trusted and cidr.contains(trusted, peer)
	if in_enclave and not is_proxy and cidr.is_loopback(peer) then return nil end
	return M.resolve(peer, forwarded, trusted)
end

--- What addresses are told apart by, wherever clients share something: an IPv6 address by its /64, which lies in
-- a /48, as much as one site has. Shares are fair between networks first, then between the addresses of one.
-- @return { network, address }: keys, of IPv4 both the same; the text itself where it is not an address
function M.path(address)
	local network, key = native.address_keys(address)
	return { network or address, key or address }
end

--- Whether a text is a loopback address.
function M.is_loopback(address)
	return cidr.is_loopback(address)
end

return M
