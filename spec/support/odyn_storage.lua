--- The storage of an Odyn service for specs, in this process: objects in memory, and failures as the spec says.
-- Fields that specs read and change: objects (key -> bytes); status (of every response, or nil); hangs (whether
-- requests get no answer); page (most names in one page of a listing); requests (list of "path key"); answers (path ->
-- function(answer, request) -> another answer: a table, or the text of a body).

local cjson = require("cjson")
local http_server = require("support.http_server")
local json = require("kms.base.json")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local odyn = require("kms.snapshot.odyn")
local odyn_calls = require("kms.tee.odyn_calls")

local M = {}

local Server = {}
Server.__index = Server

local MAX_BODY = 96 << 20

local ROUTES = {}

ROUTES["/v1/s3/get"] = function(self, request)
	local bytes = self.objects[request.key]
	if not bytes then return nil, 404 end
	return { value = native.base64_encode(bytes), content_type = cjson.null }
end

ROUTES["/v1/s3/put"] = function(self, request)
	local bytes = native.base64_decode(request.value)
	if not bytes then return nil, 400 end
	self.objects[request.key] = bytes
	return { success = true }
end

ROUTES["/v1/s3/delete"] = function(self, request)
	self.objects[request.key] = nil
	return { success = true }
end

ROUTES["/v1/s3/list"] = function(self, request)
	local found, keys = {}, {}
	for key in pairs(self.objects) do
		if key:sub(1, #request.prefix) == request.prefix and key > (request.continuation_token or "") then
			found[#found + 1] = key
		end
	end
	table.sort(found)
	for i = 1, math.min(#found, self.page, request.max_keys or 1000) do keys[i] = found[i] end
	local more = #found > #keys
	return {
		keys = json.list(keys), is_truncated = more, continuation_token = more and keys[#keys] or cjson.null,
	}
end

local function serve(self, request)
	assert(request:read_body(MAX_BODY))
	local body = cjson.decode(request.head:body())
	self.requests[#self.requests + 1] = request.path .. " " .. (body.key or body.prefix)
	while self.hangs do loop.sleep(20) end
	if self.status then return self.status, nil, "S3 error: a secret of the storage" end
	local answer, status = ROUTES[request.path](self, body)
	if not answer then return status, nil, "" end
	local change = self.answers[request.path]
	if change then answer = change(answer, body) end
	return 200, nil, type(answer) == "string" and answer or json.encode(answer)
end

--- The place that nodes of this service use: function(secret).
function Server:place()
	return odyn.open(assert(odyn_calls.new("http://127.0.0.1:" .. self.port)))
end

--- Ends it.
function Server:stop()
	self.hangs = false
	self.server:stop(function() end)
end

--- Starts it. @return server
function M.start()
	local self = setmetatable({ objects = {}, requests = {}, answers = {}, page = 1000 }, Server)
	local function handler(request) return serve(self, request) end
	self.server, self.port = http_server.service(handler, { max_line_bytes = 65536 })
	return self
end

return M
