-- Calls to other servers that fail, to addresses that are refused, and through proxies.

local uv = require("luv")
local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetching = require("spec.support.fetch")
local loopback = require("spec.support.loopback")

local own, run = loopback.own, loopback.run
local reply = loopback.reply
local answering, answering_once = loopback.answering, loopback.answering_once
local expect = fetching.expect

describe("fetch", function()
	describe("a broken server", function()
		it("that is not there", function()
			run(function()
				local gone = own(uv.new_tcp()) -- keeps its port, and does not listen
				gone:bind("127.0.0.1", 0)
				expect("ERR_CONNECT", { url = "http://127.0.0.1:" .. gone:getsockname().port })
				-- A resolver that does not answer is given up after ten seconds and more.
				local long = { url = "http://no-such-host.invalid/", timeout_ms = 50000, connect_timeout_ms = 50000 }
				expect("ERR_RESOLVE", long)
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
end)
