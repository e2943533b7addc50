-- Servers that break HTTP, to calls that bypass libcurl (csrc/net/fetch_answer.c, fetch_link.c). Where it matters what
-- libcurl does, both are asked.

local fetch = require("kms.http.fetch")
local loopback = require("spec.support.loopback")
local uv = require("luv")
local wait = require("spec.support.wait")

local run, reply = loopback.run, loopback.reply

local MAX_HEADER = 65536 -- KMS_FETCH_MAX_HEADER
local MAX_CONNECTIONS = 64 -- csrc/bind/fetch.c

local function post(url, more)
	local options = { url = url, method = "POST", body = "body", timeout_ms = 60000, direct = "peer", once = true }
	for name, value in pairs(more or {}) do options[name] = value or nil end
	return fetch.request(options)
end

-- What comes of a call to a server that answers with these bytes: status and body, or the code.
local function outcome(bytes, more)
	local server = loopback.answering_once(bytes)
	local response, _, code = post(server.url, more)
	return response and { response.status, response.body } or code
end

describe("fetch, directly, by a hostile server", function()
	it("refuses responses whose length is in doubt", function()
		run(function()
			local ok = "HTTP/1.1 200 OK\r\n"
			for _, lines in ipairs({
				"Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
				"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "Content-Length: -1\r\n", "Content-Length: 0x2\r\n",
				"Content-Length: 18446744073709551617\r\n", "Content-Length: 2, 2\r\n", "Content-Length: 1 2\r\n",
			}) do
				assert.same({ lines, "ERR_HTTP" }, { lines, outcome(ok .. lines .. "\r\n{}") })
			end
			for _, chunk in ipairs({ "-2", "10000000000000000", "g", "" }) do
				local bytes = ok .. "Transfer-Encoding: chunked\r\n\r\n" .. chunk .. "\r\n{}\r\n0\r\n\r\n"
				assert.same({ chunk, "ERR_HTTP" }, { chunk, outcome(bytes) })
			end
			local split = ok .. "Transfer-Encoding: chunked\r\n\r\n2;ext=1\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n"
			assert.same({ 200, "{}" }, outcome(split))
		end)
	end)

	it("takes a body of all bytes allowed, and none of one more, however its length is told", function()
		run(function()
			for _, size in ipairs({ 10, 11 }) do
				local body = ("x"):rep(size)
				local expected = size == 10 and { 200, body } or "ERR_TOO_LARGE"
				for _, bytes in ipairs({
					reply(body), "HTTP/1.1 200 OK\r\n\r\n" .. body,
					("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"):format(size, body),
				}) do
					assert.same({ bytes, expected }, { bytes, outcome(bytes, { max_bytes = 10 }) })
				end
			end
			local huge = "HTTP/1.1 200 OK\r\nContent-Length: 1844674407370955160\r\n\r\n"
			assert.equal("ERR_TOO_LARGE", outcome(huge))
		end)
	end)

	it("takes heads of 64 KiB, interim ones included, and none of one byte more", function()
		run(function()
			local last = reply("{}")
			local interim = "HTTP/1.1 100 Continue\r\n\r\n"
			local head_end = select(2, last:find("\r\n\r\n", 1, true))
			for _, more in ipairs({ 0, 1 }) do
				local expected = more == 0 and { 200, "{}" } or "ERR_TOO_LARGE"
				local left = MAX_HEADER + more - head_end
				local lines = ("X-A: %s\r\n"):format(("a"):rep(left - #"X-A: \r\n"))
				assert.same(expected, outcome(reply("{}", lines)))
				local count = (left - 1000) // #interim
				local padded = left - count * #interim
				lines = ("X-A: %s\r\n"):format(("a"):rep(padded - #"X-A: \r\n"))
				assert.same(expected, outcome(interim:rep(count) .. reply("{}", lines)))
			end
		end)
	end)

	it("gives up a server that never ends its interim responses, long before the call's time is over", function()
		run(function()
			local interim = ("HTTP/1.1 102 Processing\r\n\r\n"):rep(100)
			local server = loopback.serve(function(connection)
				connection:read_stop()
				local timer = loopback.own(uv.new_timer())
				timer:start(0, 1, function()
					if not connection:is_closing() then
						connection:write(interim, function(failure) if failure then timer:stop() end end)
					end
				end)
			end)
			local response, _, code = post(server.url)
			assert.same({ nil, "ERR_TOO_LARGE" }, { response, code })
		end)
	end)

	it("takes no body from responses that have none", function()
		run(function()
			for _, status in ipairs({ "204 No Content", "304 Not Modified" }) do
				local bytes = reply("body", "", status)
				assert.same({ tonumber(status:sub(1, 3)), "" }, outcome(bytes))
				local lengthy = ("HTTP/1.1 %s\r\nContent-Length: 100\r\n\r\n"):format(status)
				local server = loopback.answering(lengthy)
				assert.equal("", assert(post(server.url)).body)
			end
			assert.equal("ERR_HTTP", outcome(reply("from", "", "103 Early Hints") .. reply("{}")))
			assert.equal("ERR_HTTP", outcome("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
			local moved = reply("moved", "Location: http://127.0.0.1:1/\r\n", "302 Found")
			assert.same({ 302, "moved" }, outcome(moved))
			assert.same({ 200, "plain" }, outcome(reply("plain", "Content-Encoding: gzip\r\n")))
		end)
	end)

	-- A server that lets its connections end with RST after these bytes.
	local function resetting(bytes)
		return loopback.serve(function(connection)
			connection:read_stop()
			connection:write(bytes, function()
				local timer = loopback.own(uv.new_timer())
				timer:start(50, 0, function()
					if not connection:is_closing() then connection:close_reset() end
				end)
			end)
		end)
	end

	it("takes a body for whole where the connection ends, not where it breaks", function()
		run(function()
			assert.same({ 200, "to the end" }, outcome("HTTP/1.1 200 OK\r\n\r\nto the end"))
			for _, bytes in ipairs({
				"HTTP/1.1 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", "HTTP/1.1 2", "",
			}) do
				for _, direct in ipairs({ "peer", false }) do
					local response, _, code, sent = post(resetting(bytes).url, { direct = direct })
					assert.same({ bytes, direct, nil, "ERR_CONNECT", true }, { bytes, direct, response, code, sent })
				end
			end
			assert.equal("ERR_CONNECT", outcome("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"))
			assert.equal("ERR_CONNECT", outcome("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\npart"))
		end)
	end)

	it("never takes what came before a request was sent for its answer", function()
		run(function()
			for _, after in ipairs({ "with the answer", "after it", "its end" }) do
				local server
				server = loopback.serve(function(connection, bytes)
					if not loopback.length_of(bytes) then return false end
					local count = (server.count or 0) + 1
					server.count = count
					connection:write(reply("answer " .. count) .. (after == "with the answer" and reply("planted") or ""))
					return true
				end)
				assert.equal("answer 1", assert(post(server.url)).body)
				if after == "after it" then server.last:try_write(reply("planted")) end
				if after == "its end" then server.last:close() end
				uv.sleep(20) -- outside the loop: what the server sent lies in the client's socket unseen
				assert.same({ after, "answer 2" }, { after, assert(post(server.url)).body })
				assert.same({ after, 2 }, { after, server.accepted })
			end
		end)
	end)

	it("lets no address that cannot be reached delay the others that wait", function()
		run(function()
			local held = loopback.serve(function() return true end)
			local TIMEOUT_MS, left = 6000, MAX_CONNECTIONS
			for _ = 1, MAX_CONNECTIONS do
				coroutine.wrap(function()
					post(held.url, { timeout_ms = TIMEOUT_MS })
					left = left - 1
				end)()
			end
			wait.until_true("the connections", function() return #held.seen == MAX_CONNECTIONS end)
			local good, ended, late = loopback.answering(reply("{}")), nil, nil
			coroutine.wrap(function()
				post("http://255.255.255.255:1", { timeout_ms = TIMEOUT_MS })
				late = true
			end)()
			coroutine.wrap(function() ended = post(good.url) end)()
			held.last:write(reply("{}"))
			wait.until_true("the call behind it", function() return ended end)
			assert.same({ 200, nil }, { ended.status, late })
			wait.until_true("the other ones", function() return late and left == 0 end)
		end)
	end)
end)
