--- An HTTP server with routes for specs, and what its handlers saw.

local uv = require("luv")
local cjson = require("cjson")
local err = require("kms.base.err")
local http = require("kms.http.server")
local loop = require("kms.base.loop")
local native = require("support.native")
local ports = require("spec.support.ports")
local raw = require("support.raw_http")
local wait = require("spec.support.wait")
local wakeup = require("kms.async.wakeup")

local M = {}

local QUIET = setmetatable({}, { __index = function() return function() end end }) -- a log

--- The body of GET /health, requests for it and for an echo of chunks.
M.HEALTH = '{"status":"healthy"}'
M.GET = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
M.CHUNKED = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

-- Fields for the running test: server (kms.http.server); seen: what handlers recorded; reported: errors that
-- kms.base.loop caught; held: wake-up call that ends GET /hold.

--- Configuration of a server with long timeouts and high limits.
-- @param changes  values that differ, or nil
function M.config(changes)
	local values = {
		MAX_CONNECTIONS = 1000, MAX_CONNECTIONS_PER_ADDRESS = 1000, MAX_HEADER_BYTES = 2048,
		MAX_BODY_MEMORY_BYTES = 1 << 28, FIRST_BYTE_TIMEOUT_SECONDS = 120, HEADER_TIMEOUT_SECONDS = 120,
		BODY_TIMEOUT_SECONDS = 120, IDLE_TIMEOUT_SECONDS = 120, WRITE_TIMEOUT_SECONDS = 120,
		SHUTDOWN_TIMEOUT_SECONDS = 120,
	}
	for name, value in pairs(changes or {}) do values[name] = value end
	return values
end

local function echo(request, limit)
	local ok, message, code = request:read_body(limit)
	M.seen[#M.seen + 1] = code or request.head:body()
	if not ok then return select(2, err.wire(code)), nil, cjson.encode({ code = code, message = message }) end
	return 200, { ["Content-Type"] = "text/plain" }, request.head:body()
end

local routes = {
	["/health"] = function() return 200, nil, M.HEALTH end,
	["/echo"] = function(request) return echo(request, 100) end,
	["/refuse"] = function() return 403, nil, '{"code":"forbidden","message":"no"}' end,
	["/empty"] = function() return 204, { Allow = "GET" } end,
	["/sleep"] = function(request)
		loop.sleep(tonumber(request.query))
		M.seen[#M.seen + 1] = request.query
		return 200, nil, request.query
	end,
	["/hold"] = function()
		M.held:wait()
		return 200
	end,
	["/large"] = function(request) return 200, nil, ("x"):rep(tonumber(request.query)) end,
	["/throw"] = function() error("spec: thrown in a handler") end,
	["/nothing"] = function() end,
	["/table"] = function() return 200, nil, {} end,
	["/inject"] = function() return 200, { ["X-A"] = "b\r\nX-C: d" }, "{}" end,
	["/left"] = function(request)
		M.seen[1] = "began"
		loop.sleep(100)
		M.seen[2] = request:header("X")
		return 200
	end,
	["/facts"] = function(request)
		return 200, nil, cjson.encode({
			method = request.method, path = request.path, query = request.query, remote = request.remote,
			x = request:header("X-Twice"), length = request.length or nil,
		})
	end,
}

--- Starts a server.
-- @param changes  as for config(); @param options  further ones of kms.http.server, or nil
-- @return port
function M.start(changes, options)
	local all = {
		handler = function(request)
			local route = routes[request.path]
			if not route then return 404, nil, '{"code":"not_found","message":"no such route"}' end
			return route(request)
		end,
		config = M.config(changes),
	}
	for name, value in pairs(options or {}) do all[name] = value end
	M.server = http.new(all)
	assert(M.server:listen("127.0.0.1", 0))
	return M.server:port()
end

--- Starts a server that stands for another service: without a log, and with room for large bodies. It is the caller's
-- to stop.
-- @param handler  as of kms.http.server; @param options  further ones, or nil
-- @return kms.http.server, port
function M.service(handler, options)
	local all = { handler = handler, log = QUIET, config = M.config({ MAX_BODY_MEMORY_BYTES = 1 << 30 }) }
	for name, value in pairs(options or {}) do all[name] = value end
	local server, port = http.new(all), ports.take()
	assert(server:listen("127.0.0.1", port))
	return server, port
end

--- Stops the server and waits until it has stopped.
function M.stop()
	if not M.server then return end
	local stopped
	M.server:stop(function() stopped = true end)
	wait.until_true("the server to stop", function() return stopped or M.server.stopped end)
	uv.run("nowait")
	M.server = nil
end

--- Sends bytes on a new connection.
-- @return the replies until the server closes the connection
function M.closing(port, bytes)
	return raw.connect(port):send(bytes):await_end()
end

--- The decoded JSON of a reply.
function M.body_of(reply)
	return cjson.decode(reply.body)
end

--- Prepares each test of a describe block, and cleans up after it.
-- @param busted  setup, before_each, after_each of the block
function M.use(busted)
	-- Parsers that other specs of this process dropped hold bodies until they are collected.
	busted.setup(function()
		collectgarbage()
		collectgarbage()
	end)
	busted.before_each(function()
		M.seen, M.reported, M.held = {}, {}, wakeup.new()
		loop.on_error(function(text) M.reported[#M.reported + 1] = text end)
	end)
	busted.after_each(function()
		raw.close_all()
		M.stop()
		assert(native.http_body_in_flight() == 0, "bodies are left in memory")
	end)
end

return M
