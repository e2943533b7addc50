--- HTTP calls to other servers, written like blocking code: they yield the running coroutine.
--
-- For every call (csrc/net/fetch.h): http and https only, no user name in URLs, redirects are not
-- followed, TLS certificates are verified, no proxy but the one in the options, and the response is
-- bounded in bytes and time.

local cjson = require("cjson.safe")
local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

-- native.fetch's values as a response, its failure as it is.
local function pack(status, ...)
	if not status then return nil, ... end
	local body, headers = ...
	return { status = status, body = body, headers = headers }
end

--- Makes one call.
-- @param options  url; method ("GET"); headers: name = value; body: text or body handle; timeout_ms of the whole call
--   (10000); connect_timeout_ms, TLS included (5000);
--   stall_s: most seconds without a byte (0: no limit); max_bytes of the response's body (1 MiB); proxy: URL
--   (none); check_address: whether only public addresses are called (false); unix_socket: path of a socket
--   to use instead of the URL's host (none); wiped: whether the body of a 2xx response is secret: a
--   handle for C functions, wiped after use (false); handle: whether it is a handle, not secret, and
--   bodies of other responses are empty (false); once: whether the body is sent at most once: otherwise it is sent
--   again when a connection that was kept alive breaks (false); direct: "chain" or "peer", whoever is called: it
--   bypasses libcurl where it can (csrc/net/fetch.h), and a response below 300 has no headers then (nil: it does not)
-- @return response { status, body, headers (by lower-case name) } | nil, message, code: ERR_TIMEOUT,
--   ERR_CONNECT, ERR_RESOLVE, ERR_TLS, ERR_TOO_LARGE, ERR_ADDRESS_REFUSED, ERR_URL, ERR_HTTP, ERR_BUSY (too
--   many calls), ERR_STATE (the process is closing); and whether the server may have got any byte of the request
function M.request(options)
	return pack(native.fetch(options))
end

local function with_json(options)
	local copy = {}
	for name, value in pairs(options) do copy[name] = value end
	copy.json = nil
	copy.headers = { Accept = "application/json" }
	for name, value in pairs(options.headers or {}) do copy.headers[name] = value end
	if options.json == nil then return copy end
	copy.body = json.encode(options.json)
	copy.method = copy.method or "POST"
	copy.headers["Content-Type"] = "application/json"
	return copy
end

--- Decodes JSON.
-- @return value (cjson.null for null) | nil where the text is not JSON
function M.decode(text)
	return (cjson.decode(text))
end

--- Makes one call whose response is JSON.
-- @param options  as for request; json: encoded as the body, with method "POST"
-- @return response, whatever its status, with the decoded body in `value` | nil, message, code: those of
--   request, ERR_JSON where the body is not JSON
function M.json(options)
	local response, message, code = M.request(with_json(options))
	if not response then return nil, message, code end
	response.value = M.decode(response.body)
	if response.value == nil then
		return nil, ("the response (HTTP %d) is not JSON"):format(response.status), "ERR_JSON"
	end
	return response
end

return M
