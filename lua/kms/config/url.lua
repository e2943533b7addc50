--- URLs of the configuration: strict parsing, masking of credentials, hosts.

local cidr = require("kms.base.cidr")

local M = {}

local MAX_URL = 2048 -- bytes

--- Parses a port.
-- @param text  decimal, 1 to 5 digits; @param min  0 or 1
-- @return number | nil
function M.port(text, min)
	local port = text:find("^%d%d?%d?%d?%d?$") and tonumber(text)
	if not port or port < min or port > 65535 then return nil end
	return port
end

-- The host of an authority, and the rest after it: "" or a colon and a port. Returns nil where it is not valid.
local function split_authority(authority)
	local host, rest = authority:match("^%[([%x:.]+)%](.*)$")
	if host then
		if host:find(":", 1, true) and cidr.parse_address(host) then return host, rest end
		return nil
	end
	host, rest = authority:match("^([%w_][%w._-]*)(.*)$")
	-- Digits and dots alone must be a complete IPv4 address.
	if not host or (host:find("^[%d.]+$") and not cidr.parse_address(host)) then return nil end
	return host, rest
end

--- Parses an http or https URL without user name and fragment.
-- @param base  whether paths are appended to it: then it has no query and loses slashes at its end
-- @return URL with scheme and authority in lower case | nil
function M.parse(text, base)
	if #text > MAX_URL or text:find("[^\33-\126]") or text:find("[\"'<>\\^`{|}#@]") then return nil end
	local scheme, authority, path = text:match("^(%a+)://([^/?]+)(.*)$")
	scheme = scheme and scheme:lower()
	if scheme ~= "http" and scheme ~= "https" then return nil end
	local host, rest = split_authority(authority)
	if not host then return nil end
	if rest ~= "" and not M.port(rest:match("^:(%d+)$") or "", 1) then return nil end
	if not base then return scheme .. "://" .. authority:lower() .. path end
	if path:find("?", 1, true) then return nil end
	return scheme .. "://" .. authority:lower() .. path:gsub("/+$", "")
end

--- The printable form of a URL: without user, password, path and query, which can hold credentials. Of a text without
-- a scheme too, which is most likely a URL whose scheme was forgotten.
function M.mask(text)
	local scheme, rest = text:match("^(%a+://)(.*)$")
	if not scheme then scheme, rest = "", text end
	local bare = rest:match("^.*@(.*)$") -- a password with a slash is no path
	local authority, path = (bare or rest):match("^([^/?#]*)(.*)$")
	return scheme .. (bare and "***@" or "") .. authority .. ((path == "" or path == "/") and path or "/***")
end

-- The host of a parsed URL, without brackets.
local function host_of(url)
	local authority = url:match("^%a+://([^/?]+)")
	return authority:match("^%[(.*)%]") or authority:match("^[^:]*")
end

--- Whether every parsed URL of a list leads to this machine.
function M.all_loopback(urls)
	for _, url in ipairs(urls) do
		local host = host_of(url)
		if host ~= "localhost" and not cidr.is_loopback(host) then return false end
	end
	return true
end

return M
