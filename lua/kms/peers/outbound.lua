--- Where this node may call, and through what (docs/protocol.md section 11). A peer's URL comes from
-- the chain and is not trusted. What the operator configures (Odyn, RPC, proxy) is exempt.

local types = require("kms.config.types")

local M = {}

local Egress = {}
Egress.__index = Egress

local BASE_URL = { base = true }

--- Whether a peer's URL is one to call.
-- @return the URL, canonical and without a slash at its end | nil, message
function Egress:check(url)
	local base = type(url) == "string" and types.url.parse(url, BASE_URL)
	if not base then return nil, "not a URL with http or https and a host" end
	if self.https_only and base:sub(1, 8) ~= "https://" then return nil, "only https is called from an enclave" end
	return base
end

--- Options for kms.http.fetch of a call to a peer: `request` itself, with what guards it. Which
-- addresses are refused is checked when the connection is opened (csrc/net/fetch.h).
function Egress:guard(request)
	request.proxy = request.url:sub(1, 8) == "https://" and self.https_proxy or self.http_proxy
	request.check_address = self.check_address
	return request
end

--- Which check of addresses is in force: "none" (private peers are allowed), "connect" (the
-- address that a connection is opened to) or "proxy" (literal addresses; the rest is the proxy's).
function Egress:describe()
	if not self.check_address then return "none" end
	return self.https_proxy and "proxy" or "connect"
end

-- A proxy that the environment names, or nil; one that is malformed is the operator's mistake.
local function from_env(env, name)
	local text = env(name) or env(name:upper())
	if not text or text == "" then return nil end
	local url = types.url.parse(text, BASE_URL)
	if url then return url end
	return nil, ("variable %s: not a proxy's URL: allowed is %s"):format(name, types.url.allowed(BASE_URL))
end

--- @param config IN_ENCLAVE, ALLOW_PRIVATE_PEERS, EGRESS_PROXY
-- @param env function: environment variable by name, or nil
-- @return egress | nil, message
function M.new(config, env)
	local self = setmetatable({
		https_only = config.IN_ENCLAVE, check_address = not config.ALLOW_PRIVATE_PEERS,
		https_proxy = config.EGRESS_PROXY, http_proxy = config.EGRESS_PROXY,
	}, Egress)
	if config.EGRESS_PROXY or not config.IN_ENCLAVE then return self end
	-- The platform's enclave: the only way out, named by these.
	local message
	self.https_proxy, message = from_env(env, "https_proxy")
	if message then return nil, message end
	self.http_proxy, message = from_env(env, "http_proxy")
	if message then return nil, message end
	return self
end

return M
