--- A bucket's server for specs, in this process: it checks signatures on its own, keeps objects in memory, and fails as
-- the spec says. Fields that specs read and change: objects (path -> bytes); status (of every response, or nil); hangs
-- (whether requests get no answer); page (names in one page of a listing); endless ("same": the same
-- page again and again, true: another one each time); requests (list of "METHOD path").

local crypto = require("spec.support.crypto")
local http_server = require("support.http_server")
local kit = require("kms_testkit")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local s3 = require("kms.snapshot.s3")
local uv = require("luv")

local M = {}

M.KEY_ID, M.SECRET, M.REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-test-1"

local Server = {}
Server.__index = Server

local MAX_BODY = 64 << 20

local function hmac(key, text) return kit.hmac(key, text) end

-- Whether a request is signed as Amazon's documentation says, with M.SECRET, and its body is the one that was signed.
local function is_signed(request, body)
	local authorization = request:header("Authorization") or ""
	local date, region, names, signature = authorization:match("^AWS4%-HMAC%-SHA256 Credential=" .. M.KEY_ID
		.. "/(%d+)/([%w-]+)/s3/aws4_request, SignedHeaders=([%w;-]+), Signature=(%x+)$")
	if region ~= M.REGION then return false end
	local lines = {}
	for name in names:gmatch("[^;]+") do lines[#lines + 1] = name .. ":" .. request:header(name) .. "\n" end
	local hash = request:header("x-amz-content-sha256")
	local canonical = table.concat({
		request.method, request.path, request.query or "", table.concat(lines), names, hash,
	}, "\n")
	local time = request:header("x-amz-date")
	local to_sign = ("AWS4-HMAC-SHA256\n%s\n%s/%s/s3/aws4_request\n%s"):format(time, date, region,
		crypto.hex(kit.sha256(canonical)))
	local key = hmac(hmac(hmac(hmac("AWS4" .. M.SECRET, date), region), "s3"), "aws4_request")
	return crypto.hex(hmac(key, to_sign)) == signature and crypto.hex(kit.sha256(body)) == hash
		and names:find("host;x-amz-content-sha256;x-amz-date", 1, true) ~= nil and time:sub(1, 8) == date
end

local function unescape(text)
	return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function query_of(text)
	local query = {}
	for name, value in (text or ""):gmatch("([^&=]+)=([^&]*)") do query[unescape(name)] = unescape(value) end
	return query
end

-- A page of a listing that has no end: empty, with another token each time, or the same.
local function endless(self)
	self.pages = (self.pages or 0) + 1
	return 200, nil, ("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>"
		.. "</ListBucketResult>"):format(self.endless == "same" and "again" or self.pages)
end

-- A page of a listing. The token is the last name of the page before, with a character that XML and URLs escape.
local function list(self, bucket, query)
	local names, keys = {}, {}
	for path in pairs(self.objects) do
		local key = path:sub(#bucket + 2)
		local after = (query["continuation-token"] or ""):gsub("&$", "")
		if key:sub(1, #query.prefix) == query.prefix and key > after then names[#names + 1] = key end
	end
	table.sort(names)
	for i = 1, math.min(#names, self.page) do keys[i] = ("<Contents><Key>%s</Key></Contents>"):format(names[i]) end
	local more = #names > self.page
	return 200, nil, ("<ListBucketResult>%s<IsTruncated>%s</IsTruncated>%s</ListBucketResult>"):format(table.concat(keys),
		more, more and ("<NextContinuationToken>%s&amp;</NextContinuationToken>"):format(names[self.page]) or "")
end

local function serve(self, request)
	self.requests[#self.requests + 1] = request.method .. " " .. request.path
	while self.hangs do loop.sleep(20) end
	if self.status then return self.status, nil, "<Error><Code>SlowDown</Code></Error>" end
	local body = ""
	if request.has_body then
		assert(request:read_body(MAX_BODY))
		body = request.head:body()
	end
	if not is_signed(request, body) then return 403, nil, "<Error><Code>SignatureDoesNotMatch</Code></Error>" end
	local query = query_of(request.query)
	if query["list-type"] == "2" and self.endless then return endless(self) end
	if query["list-type"] == "2" then return list(self, request.path, query) end
	if request.method == "GET" then
		local object = self.objects[request.path]
		if not object then return 404, nil, "<Error><Code>NoSuchKey</Code></Error>" end
		return 200, nil, object
	elseif request.method == "PUT" then
		if self.objects[request.path] and request:header("If-None-Match") == "*" then return 412, nil, "" end
		self.objects[request.path] = body
		return 200, nil, ""
	end
	self.objects[request.path] = nil
	return 204
end

--- The environment of a node that uses it.
function Server:env()
	return {
		AWS_ENDPOINT_URL = "http://127.0.0.1:" .. self.port, AWS_REGION = M.REGION, AWS_ACCESS_KEY_ID = M.KEY_ID,
		AWS_SECRET_ACCESS_KEY = M.SECRET,
	}
end

--- Opens the bucket as a node does.
-- @param text SNAPSHOT, or nil; @param changes to the environment: name -> value, false: without it
-- @return function(secret) -> place | nil, message
function Server:open(text, changes)
	local env = self:env()
	for name, value in pairs(changes or {}) do env[name] = value or nil end
	uv.os_setenv("AWS_SECRET_ACCESS_KEY", env.AWS_SECRET_ACCESS_KEY or M.SECRET)
	return s3.open(text or "s3://bucket/a/prefix", {
		env = function(name) return env[name] end, wall_ms = native.wall_ms, proxy_of = function() end,
	})
end

--- The bucket as nodes use it: function(secret).
function Server:place()
	return assert(self:open())
end

--- Ends it.
function Server:stop()
	self.hangs = false
	self.server:stop(function() end)
end

--- Starts it. @return server
function M.start()
	local self = setmetatable({ objects = {}, requests = {}, page = 1000 }, Server)
	local function handler(request) return serve(self, request) end
	self.server, self.port = http_server.service(handler, { max_line_bytes = 65536 })
	return self
end

return M
