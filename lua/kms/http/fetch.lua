--- HTTP calls to other servers, written like blocking code: they yield the running coroutine.
--
-- What holds for every call (csrc/net/fetch.h): http and https only, no user info in URLs,
-- redirects are never followed, TLS is always verified, no proxy but the one that is passed,
-- and every answer is bounded in bytes and time.

local cjson = require("cjson.safe")
local json = require("kms.base.json")
local native = require("kms_native")

local M = {}

--- One call.
-- @param options  url; method ("GET"); headers (name = value); body (string);
--   timeout_ms (10000, all of it), connect_timeout_ms (5000, TLS included); max_bytes of the
--   answer's body (1 MiB); proxy (URL, none); check_address (false): only public addresses;
--   unix_socket (none): path of the socket to use instead of the URL's host;
--   wiped (false): the body of a 2xx answer is a handle for C functions, wiped after
-- @return response { status, body, headers (by lower-case name) } | nil, message, code:
--   ERR_TIMEOUT, ERR_CONNECT, ERR_RESOLVE, ERR_TLS, ERR_TOO_LARGE, ERR_ADDRESS_REFUSED, ERR_URL,
--   ERR_HTTP, ERR_BUSY (too many calls), ERR_STATE (closing)
function M.request(options)
	local status, body, headers = native.fetch(options)
	if not status then return nil, body, headers end
	return { status = status, body = body, headers = headers }
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

--- Decodes JSON: the value, or nil where it is none.
function M.decode(text)
	return (cjson.decode(text))
end

--- One call whose answer is JSON.
-- @param options  as for request; `json`, when present, is encoded as the body (method: POST)
-- @return value, response (whatever its status; see request) | nil, message, code: those of
--   request and ERR_JSON when the body is not JSON
function M.json(options)
	local response, message, code = M.request(with_json(options))
	if not response then return nil, message, code end
	local value = M.decode(response.body)
	if value == nil then return nil, ("the answer (HTTP %d) is not JSON"):format(response.status), "ERR_JSON" end
	return value, response
end

return M
