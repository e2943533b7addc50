-- Calls that bypass libcurl (csrc/net/fetch.h): which ones, and that they keep to the same limits. What else they do:
-- endpoint_spec.lua, fetch_once_spec.lua, fetch_direct_headers_spec.lua.

local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetch = require("kms.http.fetch")
local loopback = require("spec.support.loopback")
local preload = require("spec.support.preload")
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
			timeout_ms = 60000, direct = "peer", once = true,
		}
		for name, value in pairs(more or {}) do options[name] = value or nil end
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
				assert.truthy(server.seen[i]:find("\r\nContent%-Type: text/x\r\nAccept: %*/%*\r\nContent%-Length: 4\r\n\r\nbody$"))
			end
			assert.equal(1, server.accepted)
		end)
	end)

	it("uses no connection again that was idle for two minutes", function()
		local output, status = loopback.child([[
			require("spec.support.native")
			local fetch = require("kms.http.fetch")
			local loopback = require("spec.support.loopback")
			local uv = require("luv")
			local server, over = loopback.answering(loopback.reply("{}")), false
			coroutine.wrap(function()
				for _, later in ipairs({ 0, 117, 117 + 119 }) do
					uv.os_setenv("LATER_SECONDS", tostring(later))
					local response = fetch.request({ url = server.url, method = "POST", body = "b", direct = "chain" })
					print(later, response and response.status, server.accepted)
				end
				over = true
			end)()
			while not over do uv.run("once") end
			loopback.close()
		]], preload("shifted_clock"))
		assert.same({ "0\t200\t1\n117\t200\t1\n236\t200\t2\n", 0 }, { output, status })
	end)

	it("keeps no connection that answers before libuv has given its write back", function()
		-- The loop reads before it tells of a write that was begun since it last looked for those.
		local output, status = loopback.child([[
			require("spec.support.native")
			local fetch = require("kms.http.fetch")
			local loopback = require("spec.support.loopback")
			local uv = require("luv")
			local wait = require("spec.support.wait")
			local pipe = uv.pipe()
			-- Answers with the number of the connection, and says when it has answered the late request.
			uv.new_thread(function(told)
				local uv = require("luv")
				local listener, accepted = uv.new_tcp(), 0
				listener:bind("127.0.0.1", 0)
				listener:listen(8, function()
					local client, bytes = uv.new_tcp(), ""
					listener:accept(client)
					accepted = accepted + 1
					local answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" .. accepted
					client:read_start(function(_, data)
						if not data then return client:close() end
						bytes = bytes .. data
						if not bytes:find("\r\n\r\nbody$") then return end
						client:write(answer)
						if bytes:find("^POST /late ") then uv.fs_write(told, "x") end
						bytes = ""
					end)
				end)
				uv.fs_write(told, tostring(listener:getsockname().port))
				uv.run()
			end, pipe.write)
			local url, numbers = "http://127.0.0.1:" .. uv.fs_read(pipe.read, 16), {}
			local function post(path)
				local response = assert(fetch.request({ url = url .. path, method = "POST", body = "body", direct = "peer" }))
				numbers[#numbers + 1] = response.body
			end
			loopback.run(function()
				post("/")
				local idle = loopback.own(uv.new_idle())
				idle:start(function()
					idle:stop()
					coroutine.wrap(function()
						post("/late")
						post("/")
					end)()
					uv.fs_read(pipe.read, 1)
				end)
				wait.until_true("the calls", function() return #numbers == 3 end)
			end)
			print(table.concat(numbers, " "))
			os.exit(0) -- the server's thread never ends
		]], preload("late_socket"))
		assert.same({ "1 1 2\n", 0 }, { output, status })
	end)

	it("makes through libcurl the calls that it cannot make", function()
		run(function()
			local server = serve()
			local encoded = server.url .. "/\xc3\xa4"
			for _, more in ipairs({ { stall_s = 60 }, { proxy = server.url }, { url = encoded } }) do
				assert.equal("thing", assert(post(server, more)).headers["x-some"])
			end
			assert.truthy(server.seen[#server.seen]:find("^POST /%%[cC]3%%[aA]4 HTTP"))
		end)
	end)

	it("refuses addresses that are not public, where they are checked", function()
		run(function()
			local server = serve()
			local response, _, code, sent = post(server, { check_address = true })
			assert.same({ nil, "ERR_ADDRESS_REFUSED", false, 0 }, { response, code, sent, server.accepted })
		end)
	end)

	for hangs, works in pairs({ peer = "chain", chain = "peer" }) do
		it(("leaves connections to others, however many calls to a %s hang"):format(hangs), function()
			run(function()
				local silent = loopback.serve(function() return true end)
				for _ = 1, MAX_CONNECTIONS + 1 do
					coroutine.wrap(post)(silent, { direct = hangs, once = false })
				end
				wait.until_true("as many connections as there may be", function() return silent.accepted == MAX_CONNECTIONS end)
				local endpoint = assert(native.endpoint({ url = serve().url, method = "POST" }))
				local status, body = endpoint:call("body", 100)
				assert.same({ 200, "{}" }, { status, body:slice(1, 100) })
				assert.equal("{}", assert(post(serve(), { direct = works })).body)
				assert.equal(MAX_CONNECTIONS, silent.accepted)
			end)
		end)
	end

	it("lets the next call begin where one that is made again has no way to its server", function()
		local output, status = loopback.child([[
			require("spec.support.native")
			local fetch = require("kms.http.fetch")
			local loopback = require("spec.support.loopback")
			local wait = require("spec.support.wait")
			local CONNECTIONS = ]] .. MAX_CONNECTIONS .. [[

			local function post(url, timeout_ms)
				local response, _, code = fetch.request({
					url = url, method = "POST", body = "b", direct = "chain", timeout_ms = timeout_ms or 60000,
				})
				return response and response.status or code
			end
			loopback.run(function()
				local breaks, silent = loopback.answering(loopback.reply("")), loopback.serve(function() return true end)
				local works, found = loopback.answering(loopback.reply("")), {}
				local far = breaks.url:gsub("127.0.0.1", "127.0.0.9")
				assert(post(far) == 200)
				local connection = breaks.last
				connection:read_stop()
				coroutine.wrap(function() found[1] = post(far) end)()
				for _ = 2, CONNECTIONS do coroutine.wrap(post)(silent.url) end
				wait.until_true("the connections", function() return silent.accepted == CONNECTIONS - 1 end)
				coroutine.wrap(function() found[2] = post(works.url, 5000) end)()
				connection:close()
				wait.until_true("the calls", function() return found[1] and found[2] end)
				print(found[1], found[2])
			end)
		]], preload("late_socket"))
		assert.same({ "ERR_CONNECT\t200\n", 0 }, { output, status })
	end)

	it("takes no other kind than the two", function()
		for _, direct in ipairs({ "service", "", true, 1 }) do
			assert.has_error(function() coroutine.wrap(post)({ url = "http://127.0.0.1:1" }, { direct = direct }) end)
		end
	end)

	it("has the caller's Accept instead of its own", function()
		run(function()
			local server = serve()
			for _, name in ipairs({ "Accept", "accept" }) do
				assert(post(server, { headers = { [name] = "text/x" } }))
				local head = server.seen[#server.seen]
				assert.truthy(head:find("\r\n" .. name .. ": text/x\r\n", 1, true))
				assert.equal(1, select(2, head:lower():gsub("\r\naccept:", "")))
			end
			assert(post(server))
			assert.truthy(server.seen[#server.seen]:find("\r\nAccept: */*\r\n", 1, true))
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
			for _, direct in ipairs({ "peer", false }) do
				local response, _, code, sent = post(never, { connect_timeout_ms = 200, direct = direct })
				assert.same({ nil, "ERR_TIMEOUT", false }, { response, code, sent })
			end
			local slow = loopback.serve(function(connection)
				local timer = loopback.own(uv.new_timer())
				timer:start(2000, 0, function() connection:write(reply("late")) end)
				return true
			end)
			-- A busy machine may take some time to connect.
			assert.equal("late", assert(post(slow, { connect_timeout_ms = 1500 })).body)
			local response, _, code = post(slow, { timeout_ms = 300, connect_timeout_ms = 200 })
			assert.same({ nil, "ERR_TIMEOUT" }, { response, code })
		end)
	end)
end)
