--- Loopback servers and a loop for specs that wait for the network.

local uv = require("luv")
local wait = require("spec.support.wait")

local M = {}

local DEADLINE_S = 60 -- a test that takes longer fails

local handles = {} -- what the running test opened

--- Has a handle closed when the test ends.
function M.own(handle)
	handles[#handles + 1] = handle
	return handle
end

--- Closes everything that was opened; M.run does it at its end.
function M.close()
	for _, handle in ipairs(handles) do
		if not handle:is_closing() then handle:close() end
	end
	handles = {}
	wait.forget()
	uv.run("nowait")
end

--- Runs `body` as a coroutine until it ends, then closes what it opened.
function M.run(body)
	uv.update_time() -- timers count from the loop's time, which is old where specs before this one blocked
	local done, ok, failure
	coroutine.wrap(function()
		ok, failure = pcall(body)
		done = true
	end)()
	local in_time, late = pcall(wait.until_true, "the test to end", function() return done end, DEADLINE_S)
	M.close()
	if not in_time then error(late, 0) end
	if not ok then error(failure, 0) end
end

--- A server that calls on_data(client, all bytes of the connection so far); where that returns
-- true the bytes are forgotten. Its fields: url, port, listener, accepted (connections), closed (by clients), last (of
-- the connections), seen (what came).
-- @param port  nil: any free one
function M.serve(on_data, port)
	local server = { accepted = 0, closed = 0, seen = {} }
	local listener = M.own(uv.new_tcp())
	assert(listener:bind("127.0.0.1", port or 0))
	assert(listener:listen(512, function()
		local client, bytes = M.own(uv.new_tcp()), ""
		listener:accept(client)
		server.accepted, server.last = server.accepted + 1, client
		client:read_start(function(_, data)
			if not data then
				server.closed = server.closed + 1
				if not client:is_closing() then client:close() end
				return
			end
			bytes = bytes .. data
			server.seen[#server.seen + 1] = data
			if on_data and on_data(client, bytes) then bytes = "" end
		end)
	end))
	server.port = listener:getsockname().port
	server.listener = listener
	server.url = "http://127.0.0.1:" .. server.port
	return server
end

--- The length of the HTTP message that bytes begin with, head and body of Content-Length; nil: it is not complete.
function M.length_of(bytes)
	local head_end = select(2, bytes:find("\r\n\r\n", 1, true))
	if not head_end then return nil end
	local length = tonumber(bytes:sub(1, head_end):lower():match("\r\ncontent%-length: *(%d+)")) or 0
	return #bytes >= head_end + length and head_end + length or nil
end

--- The bytes of an HTTP answer. headers: lines, each with its CRLF; status: "200 OK".
function M.reply(body, headers, status)
	return ("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"):format(status or "200 OK", #body, headers or "", body)
end

--- A server that answers each complete request with the same bytes.
function M.answering(bytes)
	return M.serve(function(client, got)
		if not M.length_of(got) then return false end
		client:write(bytes)
		return true
	end)
end

--- A server that answers once a connection, then closes it.
function M.answering_once(bytes)
	return M.serve(function(client)
		client:read_stop()
		-- The test may be over by then, and the client closed.
		client:write(bytes, function()
			if not client:is_closing() then client:close() end
		end)
	end)
end

--- Runs Lua in another process; its output and exit status.
-- @param preloaded  value of LD_PRELOAD; nil: this process's
function M.child(code, preloaded)
	local path = os.tmpname()
	local file = assert(io.open(path, "w"))
	file:write(("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath), code)
	file:close()
	local set = preloaded and ("env 'LD_PRELOAD=%s' "):format(preloaded) or ""
	local pipe = assert(io.popen("timeout 60 " .. set .. "lua5.4 " .. path .. " 2>&1"))
	local output = pipe:read("a")
	local _, _, status = pipe:close()
	os.remove(path)
	return output, status
end

return M
