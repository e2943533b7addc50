--- Signed requests to S3 and servers that speak like it (AWS Signature Version 4). The secret access key is a handle;
-- what goes into a URL here needs no escapes but in a query.

local fetch = require("kms.http.fetch")
local native = require("kms_native")
local needs = require("kms.base.needs")
local text = require("kms.base.text")
local url = require("kms.config.url")

local M = {}

local S3 = {}
S3.__index = S3

local SERVICE = "s3"
local EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" -- SHA-256 of nothing
local TIMEOUT_MS, STALL_S = 120000, 20 -- of a request; without a byte
local MAX_TEXT = 4 << 20 -- bytes of a response that is no object

-- The query, sorted by name, as it is sent and signed.
local function query_text(query)
	local names, parts = {}, {}
	for name in pairs(query or {}) do names[#names + 1] = name end
	table.sort(names)
	for i, name in ipairs(names) do parts[i] = text.percent_encode(name) .. "=" .. text.percent_encode(query[name]) end
	return table.concat(parts, "&")
end

-- The header Authorization; adds the headers that are signed.
-- @return text | nil, message, code
local function authorize(self, method, path, query, headers, now_ms)
	local time = os.date("!%Y%m%dT%H%M%SZ", now_ms // 1000)
	local date = time:sub(1, 8)
	headers["x-amz-date"], headers["x-amz-security-token"] = time, self.token
	local names, lines = { "host" }, {}
	for name in pairs(headers) do
		if name:find("^x%-amz%-") then names[#names + 1] = name end
	end
	table.sort(names)
	for i, name in ipairs(names) do lines[i] = ("%s:%s\n"):format(name, headers[name] or self.host) end
	local signed = table.concat(names, ";")
	local canonical = table.concat({
		method, path, query, table.concat(lines), signed, headers["x-amz-content-sha256"],
	}, "\n")
	local scope = ("%s/%s/%s/aws4_request"):format(date, self.region, SERVICE)
	local to_sign = ("AWS4-HMAC-SHA256\n%s\n%s\n%s"):format(time, scope, native.hex_encode(native.sha256(canonical)))
	local signature, message, code = native.sigv4(self.key, date, self.region, SERVICE, to_sign)
	if not signature then return nil, message, code end
	return ("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"):format(
		self.key_id, scope, signed, signature)
end

--- Makes one request; yields.
-- @param options method, path (from / on); query: name -> value; body: handle, with its sha256 in hex; is_object:
--   whether the response's body is a handle, of at most max_bytes; headers that are not signed
-- @return response { status, body, headers } | nil, message, code
function S3:request(options)
	local query = query_text(options.query)
	local headers = { ["x-amz-content-sha256"] = options.sha256 or EMPTY }
	local path = self.base .. options.path
	local authorization, message, code = authorize(self, options.method, path, query, headers, self.wall_ms())
	if not authorization then return nil, message, code end
	headers.Authorization = authorization
	for name, value in pairs(options.headers or {}) do headers[name] = value end
	local target = self.origin .. path
	return fetch.request({
		url = target .. (query ~= "" and "?" .. query or ""), method = options.method, headers = headers,
		body = options.body, timeout_ms = TIMEOUT_MS, stall_s = STALL_S, handle = options.is_object,
		proxy = self.proxy_of(target), max_bytes = options.is_object and options.max_bytes or MAX_TEXT,
	})
end

-- The endpoint: origin, host as it is sent (without the scheme's own port), and path of its URL.
local function split(endpoint)
	local scheme, host, path = endpoint:match("^(https?)://([^/]+)(.*)$")
	local shown = host:gsub(scheme == "https" and ":443$" or ":80$", "")
	return scheme .. "://" .. host, shown, path
end

--- Reads the environment: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION (us-east-1),
-- AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (wiped from it), AWS_SESSION_TOKEN.
-- @param deps env (function(name) -> variable or nil), wall_ms, proxy_of (function(url) -> proxy's URL or nil)
-- @return requests | nil, message
function M.new(deps)
	local self = setmetatable(needs.take(deps, "env wall_ms proxy_of"), S3)
	local env = self.env
	self.region = env("AWS_REGION") or env("AWS_DEFAULT_REGION") or "us-east-1"
	if not self.region:find("^[%w%-]+$") then return nil, "variable AWS_REGION: not a region's name" end
	local endpoint = env("AWS_ENDPOINT_URL_S3") or env("AWS_ENDPOINT_URL")
		or ("https://s3.%s.amazonaws.com"):format(self.region)
	endpoint = url.parse(endpoint, true)
	if not endpoint then return nil, "variable AWS_ENDPOINT_URL: not a URL with http or https and a host" end
	self.origin, self.host, self.base = split(endpoint)
	self.key_id, self.token = env("AWS_ACCESS_KEY_ID"), env("AWS_SESSION_TOKEN")
	if self.token == "" then self.token = nil end
	if self.token and not self.token:find("^[!-~]+$") then
		return nil, "variable AWS_SESSION_TOKEN: only printable ASCII without spaces is allowed"
	end
	local message
	self.key, message = native.sigv4_key("AWS_SECRET_ACCESS_KEY")
	if message then return nil, "variable AWS_SECRET_ACCESS_KEY: the value is not valid" end
	if not self.key or not self.key_id or not self.key_id:find("^[%w%-_]+$") then
		return nil, "SNAPSHOT=s3://... needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	end
	return self
end

return M
