-- Calls to other servers (csrc/net, csrc/bind/fetch.c, lua/kms/http/fetch.lua) against real servers on loopback.

local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetch = require("kms.http.fetch")
local fetching = require("spec.support.fetch")
local loopback = require("spec.support.loopback")

local run, child = loopback.run, loopback.child
local serve, reply = loopback.serve, loopback.reply
local answering = loopback.answering
local expect = fetching.expect

describe("fetch", function()
	describe("an answer", function()
		it("has a status, a body and headers by lower-case name", function()
			run(function()
				local server = answering(reply("hello", "X-One:  a b \r\nX-TWO:\r\n"))
				local status, body, headers = native.fetch({ url = server.url .. "/path" })
				assert.equal(200, status)
				assert.equal("hello", body)
				assert.equal("a b", headers["x-one"])
				assert.equal("", headers["x-two"])
				assert.equal("5", headers["content-length"])
			end)
		end)

		it("joins repeated headers, so that a second signature never hides behind the first", function()
			run(function()
				local server = answering(reply("", "X-Sig: a\r\nX-Other: o\r\nx-sig: b\r\n"))
				local _, _, headers = native.fetch({ url = server.url })
				assert.equal("a, b", headers["x-sig"])
			end)
		end)

		it("may have any status", function()
			run(function()
				for _, status in ipairs({ "204 No Content", "404 Not Found", "500 Oops" }) do
					local server = answering(("HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n"):format(status))
					assert.equal(tonumber(status:match("%d+")), (native.fetch({ url = server.url })))
				end
			end)
		end)

		it("that redirects is returned, not followed", function()
			run(function()
				local target = answering(reply("target"))
				local server = answering(reply("moved", "Location: " .. target.url .. "/\r\n", "302 Found"))
				local status, body = native.fetch({ url = server.url })
				assert.equal(302, status)
				assert.equal("moved", body)
				assert.equal(0, target.accepted)
			end)
		end)

		it("keeps interim responses and trailers apart from its headers", function()
			run(function()
				local server = answering("HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n" ..
					"HTTP/1.1 200 OK\r\nX-Real: 2\r\nTransfer-Encoding: chunked\r\n\r\n" ..
					"2\r\nab\r\n0\r\nX-Trailer: 3\r\nHTTP/1.1: 4\r\n\r\n")
				local status, body, headers = native.fetch({ url = server.url })
				assert.equal(200, status)
				assert.equal("ab", body)
				assert.equal("2", headers["x-real"])
				assert.is_nil(headers["x-early"])
				assert.is_nil(headers["x-trailer"])
				assert.is_nil(headers["http/1.1"])
			end)
		end)

		it("can stay out of Lua", function()
			run(function()
				local server = answering(reply("very secret"))
				local status, body = native.fetch({ url = server.url, wiped = true })
				assert.equal(200, status)
				assert.equal(11, body:len())
				assert.is_nil(tostring(body):find("secret", 1, true))
				assert.is_false(getmetatable(body))
				body:close()
				assert.has_error(function() body:len() end)
				local failed = answering(reply("why", nil, "403 Forbidden"))
				status, body = native.fetch({ url = failed.url, wiped = true })
				assert.same({ 403, "why" }, { status, body })
			end)
		end)
	end)

	describe("a request", function()
		it("arrives as it was asked for", function()
			run(function()
				local server = answering(reply("{}"))
				native.fetch({
					url = server.url .. "/a/../b?c=d#fragment", method = "PUT", body = "x\0y",
					headers = { ["X-App-Nonce"] = "abc==", ["X-Empty"] = "" },
				})
				local sent = table.concat(server.seen)
				assert.equal("PUT /a/../b?c=d HTTP/1.1", sent:match("^[^\r]*"))
				assert.truthy(sent:find("\r\nX-App-Nonce: abc==\r\n", 1, true))
				assert.truthy(sent:find("\r\nX-Empty:\r\n", 1, true))
				assert.truthy(sent:find("\r\nContent-Length: 3\r\n", 1, true))
				assert.truthy(sent:find("\r\n\r\nx\0y", 1, true))
				assert.is_nil(sent:find("[Ee]xpect:"))
				assert.is_nil(sent:find("[Cc]ontent%-[Tt]ype:"))
				assert.is_nil(sent:find("[Aa]ccept%-[Ee]ncoding:"))
			end)
		end)

		it("sends a large body without asking first", function()
			run(function()
				local body = ("x"):rep((1 << 20) + 1)
				local server = serve(function(client, got)
					if #got < #body then return false end
					client:write(reply("ok"))
					return true
				end)
				assert.equal(200, (native.fetch({ url = server.url, method = "POST", body = body })))
				assert.is_nil(table.concat(server.seen):find("\r\nExpect:", 1, true))
			end)
		end)

		it("HEAD has no body in its answer", function()
			run(function()
				local server = answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
				local status, body = native.fetch({ url = server.url, method = "HEAD", max_bytes = 0 })
				assert.equal(200, status)
				assert.equal("", body)
			end)
		end)

		it("is refused where its URL is not plain http or https", function()
			run(function()
				local server = answering(reply(""))
				local host = "127.0.0.1:" .. server.port
				for _, url in ipairs({
					"", "/", host, "//" .. host, "file:///etc/passwd", "ftp://" .. host, "gopher://" .. host,
					"http://", "http:///x", "http:/" .. host, "http:" .. host, "http:////" .. host,
					"http://user@" .. host, "http://user:pw@" .. host, "http://@" .. host,
					"http://:@" .. host, "http://" .. host .. "/ x", "http://" .. host .. "/\r\nX: y",
					"http://" .. host .. "/\0", "http://127.0.0.1:99999/", "http://127.0.0.1:x/",
					"http://exa mple/", "unix:///tmp/x",
				}) do
					local status, _, code = native.fetch({ url = url })
					assert.same({ url, nil, "ERR_URL" }, { url, status, code })
				end
				assert.equal(0, server.accepted)
			end)
		end)

		it("bounds its URL", function()
			run(function()
				local server = answering(reply("ok"))
				local base = server.url .. "/"
				local status = native.fetch({ url = base .. ("a"):rep((1 << 19) - #base) })
				assert.equal(200, status)
				expect("ERR_URL", { url = base .. ("a"):rep((1 << 19) - #base + 1) })
			end)
		end)

		it("bounds its headers and refuses those that frame or route it", function()
			run(function()
				local server = answering(reply("ok"))
				local function with(name, value)
					return { url = server.url, headers = { [name] = value } }
				end
				assert.equal(200, (native.fetch(with("X", ("v"):rep(65536 - 5)))))
				expect("ERR_TOO_LARGE", with("X", ("v"):rep(65536 - 4)))
				for _, name in ipairs({
					"Host", "content-length", "Transfer-Encoding", "Connection", "EXPECT", "Upgrade", "TE", "Trailer",
					"", "a b", "a:", "a\n", "\0", "\xc3\xa4",
				}) do
					expect("ERR_ARGUMENT", with(name, "1"))
				end
				for _, value in ipairs({ "a\r\nb: c", "a\nb", "\0", "\127", "\27" }) do
					expect("ERR_ARGUMENT", with("X", value))
				end
			end)
		end)

		it("is misuse where arguments are wrong", function()
			run(function()
				for _, options in ipairs({
					{}, { url = 1 }, { url = "http://x/", color = 1 }, { url = "http://x/", timeout_ms = 0 },
					{ url = "http://x/", timeout_ms = 3600001 }, { url = "http://x/", max_bytes = -1 },
					{ url = "http://x/", check_address = 1 }, { url = "http://x/", headers = "X: y" },
					{ url = "http://x/", headers = { "X: y" } }, { url = "http://x/", headers = { X = 1 } },
				}) do
					assert.has_error(function() native.fetch(options) end)
				end
				for _, method in ipairs({ "", "get", "GET ", "G\0", "A\r\nB", ("A"):rep(17) }) do
					expect("ERR_RANGE", { url = "http://127.0.0.1:1/", method = method })
				end
			end)
			assert.has_error(function() native.fetch({ url = "http://127.0.0.1/" }) end,
				"fetch waits: it needs a coroutine")
		end)
	end)

	describe("JSON", function()
		it("goes both ways", function()
			run(function()
				local server = answering(reply('{"result":[1,2]}'))
				local response = fetch.json({ url = server.url, json = { method = "eth_chainId" } })
				assert.same({ result = { 1, 2 } }, response.value)
				assert.equal(200, response.status)
				local sent = table.concat(server.seen)
				assert.truthy(sent:find("^POST / HTTP/1.1\r\n"))
				assert.truthy(sent:find("\r\nContent-Type: application/json\r\n", 1, true))
				assert.truthy(sent:find('{"method":"eth_chainId"}', 1, true))
			end)
		end)

		it("that is none is ERR_JSON", function()
			run(function()
				local response, message, code = fetch.json({ url = answering(reply("<html>")).url })
				assert.is_nil(response)
				assert.equal("ERR_JSON", code)
				assert.equal("the response (HTTP 200) is not JSON", message)
				response, message, code = fetch.json({ url = serve().url, timeout_ms = 50 })
				assert.same({ nil, "no complete answer in time", "ERR_TIMEOUT" }, { response, message, code })
			end)
		end)

		it("keeps what request returns", function()
			run(function()
				local response = fetch.request({ url = answering(reply("b", "X: y\r\n", "418 Teapot")).url })
				assert.equal(418, response.status)
				assert.equal("b", response.body)
				assert.equal("y", response.headers.x)
				local _, _, code = fetch.request({ url = "nonsense" })
				assert.equal("ERR_URL", code)
			end)
		end)
	end)

	describe("the end", function()
		local silent = [[
			local uv, native = require("luv"), require("kms_native")
			local listener = uv.new_tcp()
			listener:bind("127.0.0.1", 0)
			listener:listen(16, function() listener:accept(uv.new_tcp()) end)
			local url = "http://127.0.0.1:" .. listener:getsockname().port
			local function call()
				coroutine.wrap(function()
					print((select(3, native.fetch({ url = url }))))
					print((select(3, native.fetch({ url = url }))))
				end)()
			end
		]]

		it("of the fetcher ends calls that wait and refuses new ones", function()
			local output, status = child(silent .. [[
				call() call()
				uv.new_timer():start(50, 0, function()
					print(native.fetch_close(), native.fetch_close())
					listener:close()
				end)
				uv.run()
			]])
			assert.equal("ERR_STATE\nERR_STATE\nERR_STATE\nERR_STATE\ntrue\ttrue\n", output)
			assert.equal(0, status)
		end)

		it("of the process may come while calls wait", function()
			local output, status = child(silent .. [[
				call() call()
				uv.new_timer():start(50, 0, function() os.exit(7, true) end)
				uv.run()
			]])
			assert.equal("", output)
			assert.equal(7, status)
		end)

		it("of the loop comes by itself once no call waits", function()
			local output, status = child([[
				local uv, native = require("luv"), require("kms_native")
				coroutine.wrap(function() print((select(3, native.fetch({ url = "http://127.0.0.1:1/" })))) end)()
				uv.run()
			]])
			assert.equal("ERR_CONNECT\n", output)
			assert.equal(0, status)
		end)
	end)
end)
