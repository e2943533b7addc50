-- Endpoints: calls of one server, prepared once (csrc/bind/endpoint.c).

local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local loopback = require("spec.support.loopback")

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
