--- A raw HTTP/1.1 client for specs: it sends what it is told, byte by byte if need be.
-- Blocking to its caller; the loop runs while something is awaited.

local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local Connection = {}
Connection.__index = Connection

--- Closes a handle, and lets the loop finish with it: luv 1.44 crashes when Lua ends before that.
function M.close(handle)
	if not handle:is_closing() then handle:close() end
	uv.run("nowait")
end

-- Connects a new handle: to a port of 127.0.0.1, or to a Unix socket by its path.
local function dial(self, port, from, settled)
	if type(port) == "string" then
		self.tcp = uv.new_pipe(false)
		self.tcp:connect(port, settled)
		return true
	end
	self.tcp = uv.new_tcp()
	if from then assert(self.tcp:bind(from, 0)) end
	return self.tcp:connect("127.0.0.1", port, settled)
end

--- Opens a connection.
-- @param port of 127.0.0.1, or path of a Unix socket
-- @param options table, optional: from (source address), nowait (return before it is established)
-- @return connection | nil, message
function M.connect(port, options)
	options = options or {}
	local self = setmetatable({ chunks = {}, size = 0 }, Connection)
	local settled
	local ok, message = dial(self, port, options.from, function(failure)
		settled, self.failure = true, failure
		if failure then return end
		self.tcp:read_start(function(read_failure, data)
			if data then
				self.chunks[#self.chunks + 1] = data
				self.size = self.size + #data
			else
				self.eof, self.reset = true, read_failure
			end
		end)
	end)
	if not ok then
		self:close()
		return nil, message
	end
	if options.nowait then return self end
	wait.holds(function() return settled end)
	if not settled or self.failure then
		self:close()
		return nil, self.failure or "timeout"
	end
	return self
end

--- Sends bytes as they are; they may still be on their way when this returns.
function Connection:write(bytes)
	if self.closed then error("connection is closed", 2) end
	local failure
	local request = self.tcp:write(bytes, function(reason) failure = reason end)
	return request and not failure
end

--- Ends it; again is fine.
function Connection:close()
	if self.closed then return end
	self.closed = true
	M.close(self.tcp)
end

--- Half-closes: nothing more will be sent.
function Connection:finish()
	self.tcp:shutdown(function() end)
end

--- Waits for the server to close; everything received is in :text(). Throws when it does not.
function Connection:wait_eof()
	wait.until_true("the server to close the connection", function() return self.eof end)
end

--- What has been received and not yet been taken as a response.
function Connection:text()
	local text = table.concat(self.chunks)
	self.chunks = { text }
	return text
end

local function take(self, len)
	local text = self:text()
	self.chunks, self.size = { text:sub(len + 1) }, #text - len
	return text:sub(1, len)
end

local function parse_head(text)
	local status_line, lines = text:match("^([^\r\n]*)\r\n(.*)$")
	local response = { headers = {}, raw_head = text }
	response.status = tonumber(status_line:match("^HTTP/1%.1 (%d%d%d) "))
	if not response.status then error("not a status line: " .. status_line, 0) end
	for line in lines:gmatch("([^\r\n]+)\r\n") do
		local name, value = line:match("^([^:%s]+):%s*(.-)%s*$")
		if not name then error("not a header: " .. line, 0) end
		name = name:lower()
		if response.headers[name] then error("header sent twice: " .. name, 0) end
		response.headers[name] = value
	end
	return response
end

local function body_length(response, method)
	if method == "HEAD" or response.status == 204 or response.status == 304 or response.status < 200 then return 0 end
	local length = tonumber(response.headers["content-length"])
	if not length then error("response without Content-Length", 0) end
	return length
end

--- Takes the next response.
-- @param options table, optional: method (HEAD has no body), timeout_s
-- @return response {status, headers (lower-case names), body} | nil, "closed" or "timeout"
function Connection:receive(options)
	options = options or {}
	local seen, finish
	local function has_head()
		if self.size == seen then return self.eof end
		seen = self.size
		finish = select(2, self:text():find("\r\n\r\n", 1, true))
		return finish or self.eof
	end
	if not wait.holds(has_head, options.timeout_s) then return nil, "timeout" end
	if not finish then return nil, "closed" end
	local response = parse_head(take(self, finish):sub(1, -3))
	local length = body_length(response, options.method)
	if not wait.holds(function() return self.size >= length or self.eof end, options.timeout_s) then
		return nil, "timeout"
	end
	if self.size < length then return nil, "closed" end
	response.body = take(self, length)
	return response
end

--- A request's bytes.
-- @param request method, target, headers (list of {name, value}), body (adds Content-Length
-- unless headers has one, or Transfer-Encoding), host (default "localhost"; false: none)
function M.format(request)
	local out = { ("%s %s HTTP/1.1\r\n"):format(request.method or "GET", request.target or "/") }
	if request.host ~= false then out[#out + 1] = ("Host: %s\r\n"):format(request.host or "localhost") end
	local framed = false
	for _, header in ipairs(request.headers or {}) do
		local name = header[1]:lower()
		framed = framed or name == "content-length" or name == "transfer-encoding"
		out[#out + 1] = ("%s: %s\r\n"):format(header[1], header[2])
	end
	if request.body and not framed then out[#out + 1] = ("Content-Length: %d\r\n"):format(#request.body) end
	out[#out + 1] = "\r\n"
	out[#out + 1] = request.body or ""
	return table.concat(out)
end

--- Sends a request on a connection and takes its response.
function Connection:request(request)
	self:write(M.format(request))
	return self:receive({ method = request.method, timeout_s = request.timeout_s })
end

--- One request on a connection of its own.
-- @return response | nil, message
function M.request(port, request)
	local connection, message = M.connect(port, { from = request.from })
	if not connection then return nil, message end
	local response
	response, message = connection:request(request)
	connection:close()
	return response, message
end

--- GET on a connection of its own.
function M.get(port, target, headers)
	return M.request(port, { target = target, headers = headers })
end

return M
