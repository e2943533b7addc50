--- Which URLs of peers this node may call, and through which proxy (docs/protocol.md section 11). A peer's
-- URL comes from the chain and is not trusted. Services that the operator configures (Odyn, RPC, proxy) are exempt.

local needs = require("kms.base.needs")
local types = require("kms.config.types")

local M = {}

local Outbound = {}
Outbound.__index = Outbound

local BASE_URL = { base = true }

--- Checks a peer's URL before it is called.
-- @return the URL in canonical form, without a slash at its end | nil, message
function Outbound:check(url)
	local base = type(url) == "string" and types.url.parse(url, BASE_URL)
	if not base then return nil, "not a URL with http or https and a host" end
	if self.https_only and base:sub(1, 8) ~= "https://" then return nil, "only https is called from an enclave" end
	return base
end

--- The proxy for calls to a URL, or nil.
function Outbound:proxy_of(url)
	return url:sub(1, 8) == "https://" and self.https_proxy or self.http_proxy
end

--- Adds the proxy and the address check to a call to a peer. The check itself happens when the connection
-- is opened (csrc/net/fetch.h).
-- @param request options of kms.http.fetch, changed in place
-- @return request
function Outbound:guard(request)
	request.proxy = self:proxy_of(request.url)
	request.check_address = self.check_address
	return request
end

--- Which addresses are checked: "none" (private peers are allowed), "connect" (the address of each
-- connection) or "proxy" (literal addresses in URLs; the proxy must check the rest).
function Outbound:describe()
	if not self.check_address then return "none" end
	return self.https_proxy and "proxy" or "connect"
end

-- The proxy in an environment variable.
-- @return its URL | nil: not set | nil, message: malformed
local function from_env(env, name)
	local text = env(name) or env(name:upper())
	if not text or text == "" then return nil end
	local url = types.url.parse(text, BASE_URL)
	if url then return url end
	return nil, ("variable %s: not a proxy's URL: allowed is %s"):format(name, types.url.allowed(BASE_URL))
end

--- @param deps config (IN_ENCLAVE, ALLOW_PRIVATE_PEERS, EGRESS_PROXY); env (function(name) -> environment
--   variable, or nil)
-- @return outbound | nil, message: the environment names a malformed proxy
function M.new(deps)
	local taken = needs.take(deps, "config env")
	local config, env = taken.config, taken.env
	local self = setmetatable({
		https_only = config.IN_ENCLAVE, check_address = not config.ALLOW_PRIVATE_PEERS,
		https_proxy = config.EGRESS_PROXY, http_proxy = config.EGRESS_PROXY,
	}, Outbound)
	if config.EGRESS_PROXY or not config.IN_ENCLAVE then return self end
	-- In the platform's enclave a proxy is the only way out; the platform names it in these variables.
	local message
	self.https_proxy, message = from_env(env, "https_proxy")
	if message then return nil, message end
	self.http_proxy, message = from_env(env, "http_proxy")
	if message then return nil, message end
	return self
end

return M
