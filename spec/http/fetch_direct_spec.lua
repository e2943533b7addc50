-- Calls that bypass libcurl (csrc/net/fetch.h): which ones, and that they keep to the same limits. What else they do:
-- endpoint_spec.lua, fetch_once_spec.lua.

local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetch = require("kms.http.fetch")
local loopback = require("spec.support.loopback")
local uv = require("luv")
local wait = require("spec.support.wait")

local run, reply = loopback.run, loopback.reply

local MAX_CONNECTIONS = 64 -- csrc/bind/fetch.c

describe("fetch, directly", function()
	local function serve()
		return loopback.serve(function(connection, bytes)
			if not loopback.length_of(bytes) then return false end
			connection:write(reply("{}", "X-Some: thing\r\n"))
			return true
		end)
	end

	local function post(server, more)
		local options = {
			url = server.url .. "/path?query", method = "POST", body = "body", headers = { ["Content-Type"] = "text/x" },
			timeout_ms = 60000, direct = true, once = true,
		}
		for name, value in pairs(more or {}) do options[name] = value end
		return fetch.request(options)
	end

	it("sends head and body in one piece, on a connection that it keeps", function()
		run(function()
			local server = serve()
			for i = 1, 3 do
				local response = assert(post(server))
				assert.same({ status = 200, body = "{}", headers = {} }, response)
				assert.equal(i, #server.seen)
				assert.truthy(server.seen[i]:find("^POST /path%?query HTTP/1.1\r\nHost: 127.0.0.1:%d+\r\n"))
				assert.truthy(server.seen[i]:find("\r\nContent%-Type: text/x\r\nContent%-Length: 4\r\n\r\nbody$"))
			end
			assert.equal(1, server.accepted)
		end)
	end)

	it("makes through libcurl the calls that it cannot make", function()
		run(function()
			local server = serve()
			for _, more in ipairs({ { stall_s = 60 }, { proxy = server.url } }) do
				assert.equal("thing", assert(post(server, more)).headers["x-some"])
			end
		end)
	end)

	it("refuses addresses that are not public, where they are checked", function()
		run(function()
			local server = serve()
			local response, _, code, sent = post(server, { check_address = true })
			assert.same({ nil, "ERR_ADDRESS_REFUSED", false, 0 }, { response, code, sent, server.accepted })
		end)
	end)

	it("leaves connections to an endpoint, however many calls to peers hang", function()
		run(function()
			local silent = loopback.serve(function() return true end)
			for _ = 1, MAX_CONNECTIONS + 1 do coroutine.wrap(post)(silent, { timeout_ms = 10000 }) end
			wait.until_true("as many connections as there may be", function() return silent.accepted == MAX_CONNECTIONS end)
			local endpoint = assert(native.endpoint({ url = serve().url, method = "POST" }))
			local status, body = endpoint:call("body", 100)
			assert.same({ 200, "{}" }, { status, body:slice(1, 100) })
			assert.equal(MAX_CONNECTIONS, silent.accepted)
		end)
	end)

	-- Has a listener that takes no more connections: the kernel holds as many as it does, and drops the others.
	local function full()
		local listener, connected = loopback.own(uv.new_tcp()), 0
		assert(listener:bind("127.0.0.1", 0))
		assert(listener:listen(0, function() end))
		local port = listener:getsockname().port
		for _ = 1, 8 do
			loopback.own(uv.new_tcp()):connect("127.0.0.1", port, function(failure)
				if not failure then connected = connected + 1 end
			end)
		end
		wait.until_true("the listener to be full", function() return connected >= 2 end)
		return { url = "http://127.0.0.1:" .. port }
	end

	it("ends a call that does not connect in time, and leaves one that has connected all its time", function()
		run(function()
			local never = full()
			for _, direct in ipairs({ true, false }) do
				local response, _, code, sent = post(never, { connect_timeout_ms = 200, direct = direct })
				assert.same({ nil, "ERR_TIMEOUT", false }, { response, code, sent })
			end
			local slow = loopback.serve(function(connection)
				local timer = loopback.own(uv.new_timer())
				timer:start(600, 0, function() connection:write(reply("late")) end)
				return true
			end)
			assert.equal("late", assert(post(slow, { connect_timeout_ms = 200 })).body)
			local response, _, code = post(slow, { timeout_ms = 300, connect_timeout_ms = 200 })
			assert.same({ nil, "ERR_TIMEOUT" }, { response, code })
		end)
	end)
end)
