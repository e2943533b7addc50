-- Calls to other servers (csrc/net, csrc/bind/fetch.c, lua/kms/http/fetch.lua) against real
-- servers on loopback.

local uv = require("luv")
local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetch = require("kms.http.fetch")
local loopback = require("spec.support.loopback")
local wait = require("spec.support.wait")

local MAX_TRANSFERS, MAX_CONNECTIONS = 1024, 64 -- csrc/bind/fetch.c

local own, run, child = loopback.own, loopback.run, loopback.child
local serve, reply = loopback.serve, loopback.reply
local answering, answering_once = loopback.answering, loopback.answering_once

local function expect(code, options)
	local status, message, got = native.fetch(options)
	assert.is_nil(status)
	assert.equal(code, got)
	assert.is_string(message)
end

-- Runs `count` calls at once; returns their results when all are done.
local function parallel(count, options)
	local results, left, co = {}, count, coroutine.running()
	for i = 1, count do
		coroutine.wrap(function()
			results[i] = { native.fetch(options) }
			left = left - 1
			if left == 0 and coroutine.status(co) == "suspended" then coroutine.resume(co) end
		end)()
	end
	if left > 0 then coroutine.yield() end
	return results
end

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
				local status = native.fetch({ url = base .. ("a"):rep(65536 - #base) })
				assert.equal(200, status)
				expect("ERR_URL", { url = base .. ("a"):rep(65536 - #base + 1) })
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

	describe("limits", function()
		it("the body's bytes, sized or chunked", function()
			run(function()
				local sized = answering(reply(("b"):rep(1000)))
				local chunked = answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" ..
					("b"):rep(1000) .. "\r\n0\r\n\r\n")
				for _, server in ipairs({ sized, chunked }) do
					local status, body = native.fetch({ url = server.url, max_bytes = 1000 })
					assert.equal(200, status)
					assert.equal(1000, #body)
					expect("ERR_TOO_LARGE", { url = server.url, max_bytes = 999 })
				end
				local empty = answering(reply(""))
				assert.equal(200, (native.fetch({ url = empty.url, max_bytes = 0 })))
			end)
		end)

		it("an endless body ends at the limit", function()
			run(function()
				local server = serve(function(client)
					client:write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
					local function more(failure)
						if not failure and not client:is_closing() then client:write(("x"):rep(65536), more) end
					end
					more()
				end)
				expect("ERR_TOO_LARGE", { url = server.url, max_bytes = 1 << 20 })
			end)
		end)

		it("the header's bytes, interim responses included", function()
			run(function()
				local function padded(total)
					local head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
					local left = total - #head - 2
					local lines = {}
					while left > 2000 do
						lines[#lines + 1] = "X: " .. ("p"):rep(995) .. "\r\n"
						left = left - 1000
					end
					lines[#lines + 1] = "Y: " .. ("p"):rep(left - 5) .. "\r\n"
					return head .. table.concat(lines) .. "\r\n"
				end
				assert.equal(65536, #padded(65536))
				assert.equal(200, (native.fetch({ url = answering_once(padded(65536)).url })))
				expect("ERR_TOO_LARGE", { url = answering_once(padded(65537)).url })
				local hints = ("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"):rep(3000)
				expect("ERR_TOO_LARGE", { url = answering_once(hints .. reply("")).url })
			end)
		end)

		it("the header's lines", function()
			run(function()
				local function lines(count)
					return reply("", ("X: y\r\n"):rep(count - 1))
				end
				assert.equal(200, (native.fetch({ url = answering_once(lines(256)).url })))
				expect("ERR_TOO_LARGE", { url = answering_once(lines(257)).url })
			end)
		end)

		it("time, whether nothing comes or too slowly", function()
			run(function()
				expect("ERR_TIMEOUT", { url = serve().url, timeout_ms = 100 })
				local slow = serve(function(client)
					client:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
					own(uv.new_timer()):start(10, 10, function()
						if not client:is_closing() then client:write("x") end
					end)
				end)
				expect("ERR_TIMEOUT", { url = slow.url, timeout_ms = 300 })
			end)
		end)

		it("time to connect, TLS included", function()
			run(function()
				local server = serve()
				expect("ERR_TIMEOUT", {
					url = "https://127.0.0.1:" .. server.port, timeout_ms = 3600000, connect_timeout_ms = 200,
				})
			end)
		end)

		it("calls at once, those that wait for a connection included", function()
			run(function()
				local server = serve()
				local options = { url = server.url, timeout_ms = 1000 }
				local results = {}
				coroutine.wrap(function() results = parallel(MAX_TRANSFERS, options) end)()
				expect("ERR_BUSY", options)
				wait.until_true("the calls to end", function() return #results == MAX_TRANSFERS end)
				for i = 1, MAX_TRANSFERS do assert.equal("ERR_TIMEOUT", results[i][3]) end
				assert.is_true(server.accepted <= MAX_CONNECTIONS)
				-- The places are free again.
				assert.equal(200, (native.fetch({ url = answering(reply("")).url })))
			end)
		end)
	end)

	describe("connections", function()
		it("are kept and used again", function()
			run(function()
				local server = answering(reply("ok"))
				for _ = 1, 20 do assert.equal(200, (native.fetch({ url = server.url }))) end
				assert.equal(1, server.accepted)
			end)
		end)

		it("that a server closed meanwhile are replaced", function()
			run(function()
				local server = answering_once(reply("ok"))
				for i = 1, 5 do
					assert.equal(200, (native.fetch({ url = server.url })))
					assert.equal(i, server.accepted)
				end
			end)
		end)

		it("are bounded, and many calls share them", function()
			run(function()
				local server = answering(reply("ok"))
				for _, result in ipairs(parallel(500, { url = server.url })) do
					assert.equal(200, result[1])
					assert.equal("ok", result[2])
				end
				assert.is_true(server.accepted <= MAX_CONNECTIONS)
			end)
		end)
	end)

	describe("a broken server", function()
		it("that is not there", function()
			run(function()
				local listener = uv.new_tcp()
				listener:bind("127.0.0.1", 0)
				local port = listener:getsockname().port
				listener:close()
				expect("ERR_CONNECT", { url = "http://127.0.0.1:" .. port })
				expect("ERR_RESOLVE", { url = "http://no-such-host.invalid/" })
			end)
		end)

		it("that ends early", function()
			run(function()
				expect("ERR_CONNECT", { url = answering_once("").url })
				expect("ERR_CONNECT", { url = answering_once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").url })
				-- A malformed chunk, too, is a failure to receive for libcurl.
				expect("ERR_CONNECT", {
					url = answering_once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").url,
				})
			end)
		end)

		it("that does not speak HTTP", function()
			run(function()
				for _, bytes in ipairs({
					"garbage\r\n\r\n", "HTTP/9.9 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
					"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
					"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
					"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n",
				}) do
					local status, _, code = native.fetch({ url = answering_once(bytes).url })
					assert.same({ bytes, nil, "ERR_HTTP" }, { bytes, status, code })
				end
			end)
		end)

		it("whose TLS is none", function()
			run(function()
				local server = answering_once("HTTP/1.1 400 Bad Request\r\n\r\n")
				expect("ERR_TLS", { url = "https://127.0.0.1:" .. server.port })
			end)
		end)

		it("whose certificate nobody vouches for", function()
			local dir = os.tmpname()
			os.remove(dir)
			assert(uv.fs_mkdir(dir, 448))
			local key, cert = dir .. "/key.pem", dir .. "/cert.pem"
			assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost" ..
				" -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -days 2 -keyout %s -out %s 2>/dev/null"):format(key, cert)))
			local server
			local ok, failure = pcall(run, function()
				local co, stdout, text = coroutine.running(), own(uv.new_pipe()), ""
				server = own((assert(uv.spawn("openssl", {
					args = { "s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", cert, "-www" },
					stdio = { nil, stdout, nil },
				}, function() end))))
				stdout:read_start(function(_, data)
					text = text .. (data or "")
					if coroutine.status(co) == "suspended" and text:find("ACCEPT [%d.]+:%d+\n") then
						stdout:read_stop()
						coroutine.resume(co)
					end
				end)
				coroutine.yield()
				local port = text:match("ACCEPT [%d.]+:(%d+)")
				expect("ERR_TLS", { url = "https://127.0.0.1:" .. port })
				expect("ERR_TLS", { url = "https://localhost:" .. port })
				server:kill("sigterm")
			end)
			os.remove(key)
			os.remove(cert)
			uv.fs_rmdir(dir)
			if not ok then error(failure, 0) end
		end)
	end)

	describe("check_address", function()
		it("refuses every way to write loopback, before a connection is made", function()
			run(function()
				local server = answering(reply("inside"))
				for _, host in ipairs({
					"127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "0.0.0.0",
					"[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]",
				}) do
					local status, _, code =
						native.fetch({ url = ("http://%s:%d/"):format(host, server.port), check_address = true })
					assert.same({ host, nil, "ERR_ADDRESS_REFUSED" }, { host, status, code })
				end
				assert.equal(0, server.accepted)
				assert.equal(200, (native.fetch({ url = server.url, check_address = false })))
			end)
		end)

		it("refuses although an unchecked call keeps a connection to the same place", function()
			run(function()
				local server = answering(reply("inside"))
				assert.equal(200, (native.fetch({ url = server.url })))
				expect("ERR_ADDRESS_REFUSED", { url = server.url, check_address = true })
				assert.equal(1, #server.seen)
			end)
		end)
	end)

	describe("proxies", function()
		local names = { "http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY" }
		local saved

		before_each(function()
			saved = {}
			for _, name in ipairs(names) do saved[name] = os.getenv(name) end
		end)

		after_each(function()
			for _, name in ipairs(names) do
				if saved[name] then uv.os_setenv(name, saved[name]) else uv.os_unsetenv(name) end
			end
		end)

		it("of the environment are ignored", function()
			run(function()
				local proxy, server = answering(reply("proxy")), answering(reply("server"))
				for _, name in ipairs(names) do
					uv.os_setenv(name, name:lower() == "no_proxy" and "" or proxy.url)
				end
				local _, body = native.fetch({ url = server.url })
				assert.equal("server", body)
				assert.equal(0, proxy.accepted)
			end)
		end)

		it("that are passed are used, whatever no_proxy says", function()
			run(function()
				local proxy, server = answering(reply("proxy")), answering(reply("server"))
				uv.os_setenv("no_proxy", "*")
				uv.os_setenv("NO_PROXY", "127.0.0.1")
				local _, body = native.fetch({ url = server.url .. "/x", proxy = proxy.url })
				assert.equal("proxy", body)
				assert.equal(0, server.accepted)
				assert.equal("GET " .. server.url .. "/x HTTP/1.1", proxy.seen[1]:match("^[^\r]*"))
			end)
		end)

		it("get no call to a host that is openly special", function()
			run(function()
				local proxy = answering(reply("proxy"))
				for _, host in ipairs({
					"127.0.0.1", "localhost", "metadata", "169.254.169.254", "[::1]", "10.0.0.1", "127.0.0.1.",
				}) do
					expect("ERR_ADDRESS_REFUSED",
						{ url = "http://" .. host .. "/", proxy = proxy.url, check_address = true })
				end
				assert.equal(0, proxy.accepted)
				local _, body = native.fetch({
					url = "http://node.example.org/", proxy = proxy.url, check_address = true,
				})
				assert.equal("proxy", body)
			end)
		end)

		it("that refuse a tunnel are a failure to connect", function()
			run(function()
				local proxy = answering(reply("no", nil, "403 Forbidden"))
				expect("ERR_CONNECT", { url = "https://node.example.org/", proxy = proxy.url })
				assert.equal("CONNECT node.example.org:443 HTTP/1.1", proxy.seen[1]:match("^[^\r]*"))
			end)
		end)

		it("of other kinds are refused", function()
			run(function()
				for _, proxy in ipairs({ "", "127.0.0.1:1", "socks5://127.0.0.1:1", "http://", "file:///x", "http://a b/" }) do
					expect("ERR_URL", { url = "http://127.0.0.1:1/", proxy = proxy })
				end
			end)
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
					print(select(3, native.fetch({ url = url })))
					print(select(3, native.fetch({ url = url })))
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
				coroutine.wrap(function() print(select(3, native.fetch({ url = "http://127.0.0.1:1/" }))) end)()
				uv.run()
			]])
			assert.equal("ERR_CONNECT\n", output)
			assert.equal(0, status)
		end)
	end)

	describe("bodies that stay in C", function()
		it("come back as a handle with `handle`, and public bytes can be looked at", function()
			run(function()
				local server = answering(reply("0123456789"))
				local status, body = native.fetch({ url = server.url, handle = true })
				assert.equal(200, status)
				assert.equal(10, body:len())
				assert.equal("0123456789", body:slice(1, 100))
				assert.equal("34", body:slice(4, 2))
				assert.equal("", body:slice(11, 5))
				assert.equal("", body:slice(3, 0))
				assert.has_error(function() body:slice(0, 1) end)
				assert.has_error(function() body:slice(1, -1) end)
				body:close()
				body:close()
				assert.has_error(function() body:len() end)
			end)
		end)

		it("are left out or come back as text where the status is an error's, and secrets cannot be looked at", function()
			run(function()
				local status, text = native.fetch({ url = answering(reply("no", nil, "404 No")).url, handle = true })
				assert.equal(404, status)
				assert.equal("", text) -- it may be as long as an answer may
				status, text = native.fetch({ url = answering(reply("no", nil, "404 No")).url, wiped = true })
				assert.equal(404, status)
				assert.equal("no", text)
				local _, body = native.fetch({ url = answering(reply("secret")).url, wiped = true })
				assert.equal(6, body:len())
				assert.has_error(function() body:slice(1, 1) end)
				assert.has_error(function() native.text_body("secret"):slice(1, 1) end)
			end)
		end)

		it("are sent as they are, and nobody else has them meanwhile", function()
			run(function()
				local server = serve(function(client, got)
					if not got:find("the body$") then return false end
					client:write(reply("ok"))
					return true
				end)
				local body = native.text_body("the body")
				local taken
				coroutine.wrap(function()
					wait.sleep(0)
					taken = not pcall(body.len, body)
				end)()
				local status = native.fetch({ url = server.url, method = "POST", body = body })
				assert.equal(200, status)
				assert.is_true(taken)
				assert.equal(8, body:len()) -- given back
				assert.equal(200, native.fetch({ url = server.url, method = "POST", body = body }))
				body:close()
				assert.has_error(function() native.fetch({ url = server.url, method = "POST", body = body }) end)
				assert.has_error(function() native.fetch({ url = server.url, method = "POST", body = {} }) end)
			end)
		end)

		it("are given back after a failure, too", function()
			run(function()
				local body = native.text_body("x")
				expect("ERR_CONNECT", { url = "http://127.0.0.1:1", method = "POST", body = body })
				expect("ERR_URL", { url = "nothing", method = "POST", body = body })
				assert.equal(1, body:len())
			end)
		end)
	end)

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
