-- Limits and connections of calls to other servers.

local uv = require("luv")
local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetching = require("spec.support.fetch")
local loopback = require("spec.support.loopback")
local wait = require("spec.support.wait")

local MAX_TRANSFERS, MAX_CONNECTIONS = 1024, 64 -- csrc/bind/fetch.c

local own, run = loopback.own, loopback.run
local serve, reply = loopback.serve, loopback.reply
local answering, answering_once = loopback.answering, loopback.answering_once
local expect, parallel = fetching.expect, fetching.parallel

describe("fetch", function()
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
				-- Holds every request until the test lets it answer.
				local held, answers = {}, false
				local server = serve(function(client)
					if answers then client:write(reply("ok")) else held[#held + 1] = client end
					return true
				end)
				local options = { url = server.url, timeout_ms = 3600000 }
				local results, waited = {}, nil
				coroutine.wrap(function() results = parallel(MAX_TRANSFERS - 1, options) end)()
				coroutine.wrap(function()
					waited = { native.fetch({ url = server.url, timeout_ms = 500 }) }
				end)()
				expect("ERR_BUSY", options)
				wait.until_true("the connections", function() return #held >= MAX_CONNECTIONS end)
				wait.until_true("the call that gets no connection", function() return waited end)
				assert.equal("ERR_TIMEOUT", waited[3])
				assert.equal(MAX_CONNECTIONS, server.accepted)
				answers = true
				for _, client in ipairs(held) do client:write(reply("ok")) end
				wait.until_true("the calls to end", function() return #results == MAX_TRANSFERS - 1 end)
				for _, result in ipairs(results) do assert.equal(200, result[1]) end
				assert.equal(MAX_CONNECTIONS, server.accepted)
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
end)
