--- A raw HTTP client on the loop, for specs: sends bytes as they are, notes what comes back.

local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local open = {} -- what the running test opened

local Client = {}
Client.__index = Client

function Client:send(bytes)
	self.handle:write(bytes)
	return self
end

--- Sends the bytes one by one, each on its own.
function Client:send_slowly(bytes)
	for i = 1, #bytes do
		self.handle:write(bytes:sub(i, i))
		uv.run("nowait")
	end
	return self
end

function Client:read()
	self.handle:read_start(function(failure, chunk)
		if chunk then
			self.parts[#self.parts + 1] = chunk
			self.received = self.received + #chunk
			return
		end
		self.ended, self.failure = true, failure
	end)
	return self
end

function Client:text()
	return table.concat(self.parts)
end

--- The answers that have come completely: list of {status, headers (by lower-case name), body}.
-- @param heads_only  number of the one that has no body (HEAD)
function Client:answers(heads_only)
	local list, text, at = {}, self:text(), 1
	while true do
		local head_end = text:find("\r\n\r\n", at, true)
		if not head_end then return list end
		local head, headers = text:sub(at, head_end + 1), {}
		for name, value in head:gmatch("\r\n([^:]+): ([^\r]*)") do headers[name:lower()] = value end
		local length = heads_only == #list + 1 and 0 or tonumber(headers["content-length"] or 0)
		if #text < head_end + 3 + length then return list end
		list[#list + 1] = {
			status = tonumber(head:match("^HTTP/1%.1 (%d%d%d)")), headers = headers,
			body = text:sub(head_end + 4, head_end + 3 + length),
		}
		at = head_end + 4 + length
	end
end

--- Waits for `count` complete answers and returns the list.
function Client:await(count)
	wait.until_true(count .. " answers", function() return self.ended or #self:answers() >= count end)
	return self:answers()
end

--- Waits until the server has closed.
function Client:await_end()
	wait.until_true("the server to close", function() return self.ended end)
	return self:answers()
end

function Client:close()
	if not self.handle:is_closing() then self.handle:close() end
end

--- Connects; reads at once unless `silent`.
-- @param from  address to connect from, or nil
function M.connect(port, silent, from)
	local self = setmetatable({ handle = uv.new_tcp(), parts = {}, received = 0, ended = false }, Client)
	open[#open + 1] = self
	local connected, failure
	if from then assert(self.handle:bind(from, 0)) end
	self.handle:connect("127.0.0.1", port, function(message) connected, failure = true, message end)
	wait.until_true("a connection", function() return connected end)
	if failure then
		self.ended, self.failure = true, failure
	elseif not silent then
		self:read()
	end
	return self
end

local Child = {}
Child.__index = Child

--- Has the child end in its orderly way and waits for it; output and status are set then.
function Child:stop()
	self.handle:kill("sigterm")
	wait.until_true("the child to end", function() return self.status and self.ended end)
end

function Child:close()
	if not self.status then self.handle:kill("sigkill") end
	wait.until_true("the child to end", function() return self.status and self.ended end)
	for _, handle in ipairs({ self.handle, self.pipe }) do
		if not handle:is_closing() then handle:close() end
	end
end

--- Runs a Lua program that prints its port in a process of its own, behind shell `setup`.
function M.child(setup, program)
	local self = setmetatable({ pipe = uv.new_pipe(), output = "" }, Child)
	self.handle = assert(uv.spawn("setpriv", {
		args = { "--pdeathsig", "KILL", "sh", "-c", setup .. "; exec lua5.4 " .. program }, stdio = { nil, self.pipe, 2 },
	}, function(status) self.status = status end))
	open[#open + 1] = self
	self.pipe:read_start(function(_, chunk)
		if chunk then self.output = self.output .. chunk else self.ended = true end
	end)
	wait.until_true("the child's port", function() return self.ended or self.output:find("\n", 1, true) end)
	self.port = tonumber(self.output:match("^(%d+)\n"))
	assert(self.port, self.output)
	return self
end

--- Closes what the test opened.
function M.close_all()
	for _, client in ipairs(open) do client:close() end
	open = {}
	uv.run("nowait")
end

return M
