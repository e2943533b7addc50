--- The Host header of servers on loopback. A web page that a browser on this machine shows can reach such a
-- server under a name of its own (DNS rebinding); a request that names an address or localhost cannot come
-- from there.

local cidr = require("kms.base.cidr")
local client_address = require("kms.http.client_address")

local M = {}

--- Whether a Host header names an address or localhost.
-- @param host text of the header, with or without a port, or nil
function M.is_local(host)
	if not host then return false end
	local name = host:match("^%[(.*)%]$") or host:match("^%[(.*)%]:%d+$")
		or host:match("^([^:]*)$") or host:match("^([^:]*):%d+$")
	if not name then return false end
	return name:lower() == "localhost" or cidr.parse_address(name) ~= nil
end

--- Whether a listening address ("127.0.0.1:8000", "[::1]:8000") is on loopback.
function M.is_loopback(address)
	local name = address:match("^%[?(.-)%]?:%d+$")
	return name ~= nil and client_address.is_loopback(name)
end

return M
