--- A server between a client and a node: passes requests on, and does with them and their answers what a spec says.
-- To be used within loopback.run.

local loopback = require("spec.support.loopback")
local uv = require("luv")

local M = {}

--- Sends bytes to a port; yields.
-- @return the answer's bytes | nil: none came
function M.forward(port, bytes)
	local co, got, done = coroutine.running(), "", false
	local socket = loopback.own(uv.new_tcp())
	local function finish(answer)
		if done then return end
		done = true
		if not socket:is_closing() then socket:close() end
		assert(coroutine.resume(co, answer))
	end
	socket:connect("127.0.0.1", port, function(failure)
		if failure then return finish(nil) end
		socket:write(bytes)
		socket:read_start(function(_, data)
			got = got .. (data or "")
			local length = loopback.length_of(got)
			if length then return finish(got:sub(1, length)) end
			if not data then finish(nil) end
		end)
	end)
	return coroutine.yield()
end

local function handle(self, connection, bytes)
	local method, target = bytes:match("^(%u+) (%S+)")
	local request = { method = method, path = target:match("^[^?]*"), target = target, bytes = bytes }
	request.pass = function(other) return M.forward(self.port, other or bytes) end
	self.seen[#self.seen + 1] = request
	local answer = request.pass
	if self.rule then answer = function() return self.rule(request) end end
	local reply, ends = answer()
	if connection:is_closing() then return end
	if not reply then return connection:close() end
	connection:write(reply, function()
		if ends and not connection:is_closing() then connection:close() end
	end)
end

--- How many requests there were to a path.
function M.count(self, path)
	local count = 0
	for _, request in ipairs(self.seen) do
		if request.path == path then count = count + 1 end
	end
	return count
end

--- Stands between clients and a node.
-- @param port of the node
-- @param rule  function(request) -> bytes of the answer, or nil to cut the connection; and true to cut it behind them;
--   in a coroutine. request: method, path, target, bytes, pass([other bytes]) -> what the node answers, or nil. nil:
--   passes everything on
-- @return self { url, seen (requests), rule, port }
function M.start(port, rule)
	local self = { port = port, rule = rule, seen = {} }
	local server = loopback.serve(function(connection, bytes)
		if not loopback.length_of(bytes) then return false end
		coroutine.wrap(handle)(self, connection, bytes)
		return true
	end)
	self.url, self.count = server.url, M.count
	return self
end

return M
