-- Endpoints: calls of one server, prepared once (csrc/bind/endpoint.c).

local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local loop = require("kms.base.loop")
local loopback = require("spec.support.loopback")
local uv = require("luv")
local wait = require("spec.support.wait")

local run = loopback.run
local serve, reply = loopback.serve, loopback.reply

describe("fetch", function()
	describe("an endpoint", function()
		-- Answers each request with what was sent.
		local function echo()
			return serve(function(client, got)
				local head, body = got:match("^(.-\r\n\r\n)(.*)$")
				if not head or #body < tonumber(head:match("Content%-Length: (%d+)") or 0) then return false end
				client:write(reply(body))
				return true
			end)
		end

		it("is called again and again over kept connections, each time with a body of its own", function()
			run(function()
				local server = echo()
				local endpoint = assert(native.endpoint({ url = server.url, method = "POST", content_type = "text/x" }))
				for i = 1, 200 do
					local text = ("x"):rep(i * 37 % 5000)
					local status, body = endpoint:call(i % 2 == 0 and text or native.text_body(text), 5000)
					assert.equal(200, status)
					assert.equal(text, body:slice(1, #text + 1))
				end
				assert.equal(1, server.accepted)
				assert.truthy(server.seen[1]:find("Content-Type: text/x\r\n", 1, true))
			end)
		end)

		it("runs many calls at once", function()
			run(function()
				local endpoint = assert(native.endpoint({ url = echo().url, method = "POST" }))
				local left, co = 150, coroutine.running()
				for i = 1, 150 do
					coroutine.wrap(function()
						local _, body = endpoint:call("call " .. i, 100)
						assert(body:slice(1, 100) == "call " .. i)
						left = left - 1
						if left == 0 then coroutine.resume(co) end
					end)()
				end
				if left > 0 then coroutine.yield() end
			end)
		end)

		it("says nothing of an error but its status, and goes on after failures", function()
			run(function()
				local answers = { reply("no", nil, "500 No"), reply(("x"):rep(11)), "garbage\r\n\r\n", reply("ok") }
				local server = serve(function(client)
					client:write(table.remove(answers, 1))
					return true
				end)
				local endpoint = assert(native.endpoint({ url = server.url, timeout_ms = 5000 }))
				assert.same({ 500 }, { endpoint:call(nil, 10) })
				local function code() return (select(3, endpoint:call(nil, 10))) end
				assert.equal("ERR_TOO_LARGE", code())
				assert.equal("ERR_HTTP", code())
				local status, body = endpoint:call(nil, 10)
				assert.equal(200, status)
				assert.equal("ok", body:slice(1, 10))
			end)
		end)

		it("has its deadline at each call", function()
			run(function()
				local endpoint = assert(native.endpoint({ url = serve().url, timeout_ms = 30 }))
				for _ = 1, 3 do assert.equal("ERR_TIMEOUT", (select(3, endpoint:call(nil, 10)))) end
			end)
		end)

		-- How many descriptors this process's loop has registered.
		local function registered()
			local count = 0
			for name in uv.fs_scandir_next, assert(uv.fs_scandir("/proc/self/fdinfo")) do
				local file = io.open("/proc/self/fdinfo/" .. name)
				for _ in (file and file:read("a") or ""):gmatch("tfd:") do count = count + 1 end
				if file then file:close() end
			end
			return count
		end

		it("keeps its connection registered with the loop between calls", function()
			run(function()
				local server = echo()
				local endpoint = assert(native.endpoint({ url = server.url, method = "POST" }))
				assert.equal(200, endpoint:call("x", 10))
				loop.pause()
				local before = registered()
				server.last:close() -- the server's end
				wait.until_true("the client's end to be closed as well", function() return registered() == before - 2 end)
				assert.equal(200, endpoint:call("x", 10))
				assert.equal(2, server.accepted)
			end)
		end)

		-- Calls an endpoint of a server that answers with these bytes, once a piece. Returns what the call does.
		local function answered(pieces, options)
			local server
			server = serve(function(client, got)
				if not loopback.length_of(got) then return false end
				loop.spawn(function()
					for _, piece in ipairs(pieces) do
						client:write(piece)
						loop.pause()
					end
					if options and options.closes then client:close() end
				end)
				return true
			end)
			local endpoint = assert(native.endpoint({ url = server.url, timeout_ms = 60000 }))
			local status, body, code = endpoint:call(nil, 100)
			local text = status and body and body:slice(1, body:len()) or nil
			return status, text or code, server, endpoint
		end

		it("takes a response in every form", function()
			run(function()
				local plain = reply("12345")
				local bytes = {}
				for i = 1, #plain do bytes[i] = plain:sub(i, i) end
				local ok = { 200, "12345" }
				assert.same(ok, { table.unpack({ answered({ plain }) }, 1, 2) })
				assert.same(ok, { table.unpack({ answered(bytes) }, 1, 2) })
				local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"
				assert.same(ok, { table.unpack({ answered({ chunked }) }, 1, 2) })
				assert.same(ok, { table.unpack({ answered({ "HTTP/1.1 100 Continue\r\n\r\n" .. plain }) }, 1, 2) })
				local open = { "HTTP/1.1 200 OK\r\n\r\n12345" }
				assert.same(ok, { table.unpack({ answered(open, { closes = true }) }, 1, 2) })
				assert.same({ 204, "" }, { table.unpack({ answered({ "HTTP/1.1 204 No\r\n\r\n" }) }, 1, 2) })
			end)
		end)

		it("refuses a response that is malformed, cut, switches the protocol or announces too much", function()
			run(function()
				local function code(...) return (select(2, answered(...))) end
				assert.equal("ERR_HTTP", code({ "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" }))
				assert.equal("ERR_HTTP", code({ "HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" }))
				assert.equal("ERR_TOO_LARGE", code({ "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" }))
				assert.equal("ERR_CONNECT", code({ reply("12345"):sub(1, -2) }, { closes = true }))
				assert.equal("ERR_CONNECT", code({}, { closes = true }))
				local endpoint = assert(native.endpoint({ url = "http://127.0.0.1:1/" }))
				assert.equal("ERR_CONNECT", (select(3, endpoint:call(nil, 10))))
			end)
		end)

		it("does not use a connection again on which more arrived than the response, or that the server closes", function()
			run(function()
				local ends = {
					{ reply("one") .. reply("two") }, { reply("one"), reply("two") },
					{ reply("one", "Connection: close\r\n") },
				}
				for _, pieces in ipairs(ends) do
					local status, text, server, endpoint = answered(pieces)
					assert.same({ 200, "one" }, { status, text })
					wait.until_true("the client to close it", function() return server.closed == 1 end)
					local again, body = endpoint:call(nil, 100)
					assert.same({ 200, "one" }, { again, body:slice(1, 100) })
					assert.equal(2, server.accepted)
				end
			end)
		end)

		it("calls again, once, where the server closed a kept connection as the request arrived", function()
			run(function()
				local calls = 0
				local server = serve(function(client)
					calls = calls + 1
					if calls == 2 then client:close() else client:write(reply("call " .. calls)) end
					return true
				end)
				local endpoint = assert(native.endpoint({ url = server.url }))
				assert.equal(200, endpoint:call(nil, 100))
				local status, body = endpoint:call(nil, 100)
				assert.same({ 200, "call 3" }, { status, body:slice(1, 100) })
				assert.same({ 3, 2 }, { calls, server.accepted })
			end)
		end)

		it("sends a body that is larger than what the kernel takes at once", function()
			run(function()
				local endpoint = assert(native.endpoint({ url = echo().url, method = "POST", timeout_ms = 60000 }))
				local large = ("0123456789abcdef"):rep(1 << 17)
				for _ = 1, 2 do
					local status, body = endpoint:call(large, 1 << 24)
					assert.equal(200, status)
					assert.is_true(body:slice(1, #large + 1) == large)
				end
			end)
		end)

		it("takes an answer that comes before the whole body was sent", function()
			run(function()
				local server = serve(function(client)
					client:read_stop()
					client:write(reply("no", nil, "413 No"))
					return true
				end)
				local endpoint = assert(native.endpoint({ url = server.url, method = "POST", timeout_ms = 60000 }))
				for _ = 1, 2 do assert.equal(413, (endpoint:call(("x"):rep(1 << 23), 10))) end
				assert.equal(2, server.accepted)
			end)
		end)

		it("calls a named host through libcurl, and sends the same request", function()
			run(function()
				local server = echo()
				for _, host in ipairs({ "127.0.0.1", "localhost" }) do
					local endpoint = assert(native.endpoint({
						url = ("http://%s:%d/a/../b?c=d"):format(host, server.port), method = "POST", content_type = "text/x",
					}))
					assert.equal(200, (endpoint:call("body", 10)))
				end
				local function parts(text)
					local list = {}
					for line in text:gsub("Host: localhost", "Host: 127.0.0.1"):gmatch("[^\r\n]+") do list[#list + 1] = line end
					table.sort(list)
					return list
				end
				assert.same(parts(server.seen[2]), parts(server.seen[1]))
				assert.truthy(server.seen[1]:find("POST /a/../b?c=d HTTP/1.1\r\n", 1, true))
			end)
		end)

		it("is not made of what is no URL or method", function()
			assert.equal("ERR_URL", (select(3, native.endpoint({ url = "ftp://127.0.0.1/" }))))
			assert.equal("ERR_URL", (select(3, native.endpoint({ url = "http://a\0b/" }))))
			assert.equal("ERR_RANGE", (select(3, native.endpoint({ url = "http://a/", method = "get" }))))
			assert.has_error(function() native.endpoint({}) end)
			assert.has_error(function() native.endpoint({ url = "http://a/", proxy = "http://b/" }) end)
			assert.has_error(function() native.endpoint({ url = 7 }) end)
		end)

		it("takes a body at each call, or at none", function()
			run(function()
				local endpoint = assert(native.endpoint({ url = echo().url, method = "POST" }))
				assert.equal(200, endpoint:call("x", 10))
				assert.equal("ERR_ARGUMENT", (select(3, endpoint:call(nil, 10))))
				assert.has_error(function() endpoint:call(7.5, {}) end)
			end)
			assert.has_error(function() native.endpoint({ url = "http://127.0.0.1:1/" }):call(nil, 1) end) -- no coroutine
		end)
	end)
end)
