-- Headers of responses to calls that bypass libcurl (csrc/net/fetch_answer.c): what they say is what they say through
-- libcurl.

require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetch = require("kms.http.fetch")
local loopback = require("spec.support.loopback")
local loop = require("kms.base.loop")
local retry_after = require("kms.http.retry_after")

local run = loopback.run

local MAX_LINES, MAX_HEADER = 256, 65536 -- KMS_FETCH_MAX_HEADER_LINES, KMS_FETCH_MAX_HEADER
local BUSY = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n"

local function post(url, direct)
	return fetch.request({ url = url, method = "POST", body = "body", timeout_ms = 60000, direct = direct or nil })
end

-- What comes of these bytes, directly or not: the response, or the code.
local function outcome(bytes, direct)
	local response, _, code = post(loopback.answering_once(bytes).url, direct)
	return response or code
end

-- A server that sends its answer in two pieces, the second one when the first has arrived.
local function answered_in_two(bytes, at)
	local server = loopback.serve(function(client, got)
		if not loopback.length_of(got) then return false end
		loop.spawn(function()
			client:write(bytes:sub(1, at))
			for _ = 1, 3 do loop.pause() end
			client:write(bytes:sub(at + 1))
		end)
		return true
	end)
	return post(server.url, "chain")
end

describe("fetch, directly, and the headers of a response", function()
	it("has those of one that is no success, as through libcurl, and none of others", function()
		run(function()
			local lines = "Retry-After: 7\r\nX-Two:  a b \t\r\nX-Empty:\r\nx-two: c\r\nX:::\r\nDate:later\r\n"
			for _, status in ipairs({ "300 No", "404 No", "429 No", "503 No", "599 No" }) do
				local bytes = ("HTTP/1.1 %s\r\nContent-Length: 4\r\n%s\r\nbody"):format(status, lines)
				local direct = outcome(bytes, "chain")
				assert.same({ ["retry-after"] = "7", ["x-two"] = "a b, c", ["x-empty"] = "", x = "::", date = "later",
					["content-length"] = "4" }, direct.headers)
				assert.same(outcome(bytes, false), direct)
			end
			for _, status in ipairs({ "200 OK", "204 OK", "299 OK" }) do
				assert.same({}, outcome(("HTTP/1.1 %s\r\nContent-Length: 0\r\n%s\r\n"):format(status, lines), "chain").headers)
			end
		end)
	end)

	it("has the same wherever the bytes are cut", function()
		run(function()
			local bytes = BUSY .. "Retry-After: 17\r\nX-Empty:\r\nDate: then\r\n\r\nbody"
			local whole = outcome(bytes, "chain")
			assert.same("17", whole.headers["retry-after"])
			for at = 1, #bytes - 1 do assert.same({ at, whole }, { at, answered_in_two(bytes, at) }) end
		end)
	end)

	it("has no headers of interim responses and trailers", function()
		run(function()
			local early = "HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"
			local bytes = early .. "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nX-Real: 2\r\n\r\n4\r\nbody\r\n0\r\n"
				.. "Retry-After: 3\r\n\r\n"
			local direct = outcome(bytes, "chain")
			assert.same({ ["transfer-encoding"] = "chunked", ["x-real"] = "2" }, direct.headers)
			assert.same({ outcome(bytes, false).headers, "body" }, { direct.headers, direct.body })
		end)
	end)

	it("keeps nothing of one response for the next on the same connection", function()
		run(function()
			local answers = { BUSY .. "Retry-After: 1\r\n\r\nbody", BUSY .. "X: y\r\n\r\nbody" }
			local server
			server = loopback.serve(function(client, got)
				if not loopback.length_of(got) then return false end
				client:write(table.remove(answers, 1))
				return true
			end)
			assert.equal("1", assert(post(server.url, "chain")).headers["retry-after"])
			assert.same({ x = "y", ["content-length"] = "4" }, assert(post(server.url, "chain")).headers)
			assert.equal(1, server.accepted)
		end)
	end)

	it("tells the same seconds of a hostile Retry-After", function()
		run(function()
			for _, lines in ipairs({
				"Retry-After: 1\r\nRetry-After: 2\r\n", "Retry-After: 1, 1\r\n", "Retry-After: -1\r\n", "Retry-After: 1e9\r\n",
				"Retry-After: 0x10\r\n", "Retry-After: soon\r\n", "Retry-After:\r\n", "retry-AFTER:\t5\t\r\n",
				("Retry-After: %s\r\n"):format(("9"):rep(1000)), "Retry-After: 5;\r\n", "Retry-After: +5\r\n",
				"Retry-After : 5\r\n", "X-Retry-After: 5\r\nRetry-Afte: 5\r\nRetry-Afterr: 5\r\n", "Retry-After: \xff5\r\n",
				"Retry-After: Sun, 06 Nov 1994 08:49:46 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
			}) do
				local bytes = BUSY .. lines .. "\r\nbody"
				local direct, other = outcome(bytes, "chain"), outcome(bytes, false)
				local function seconds(response) return type(response) == "table" and retry_after.seconds(response.headers) end
				assert.same({ lines, seconds(other) }, { lines, seconds(direct) })
			end
		end)
	end)

	it("joins a line that continues a value with a blank, or refuses it", function()
		run(function()
			local at
			for folded, value in pairs({
				["Retry-After: 1\r\n 0\r\n"] = "1 0", ["Retry-After:\r\n\t5\r\n"] = "5", ["Retry-After: 5\r\n \r\n"] = "5",
			}) do
				local bytes = BUSY .. folded .. "\r\nbody"
				assert.same({ folded, value }, { folded, outcome(bytes, "chain").headers["retry-after"] })
				at = assert(bytes:find("\r\n[ \t]", #BUSY)) - 1
				for cut = at - 1, at + 3 do
					assert.same({ folded, cut, value }, { folded, cut, answered_in_two(bytes, cut).headers["retry-after"] })
				end
			end
			assert.equal("ERR_HTTP", outcome("HTTP/1.1 503 Busy\r\n Retry-After: 5\r\n\r\n", "chain"))
		end)
	end)

	it("refuses what is no header", function()
		run(function()
			for _, line in ipairs({
				"no colon", ": nameless", "Retry-After: 1\0", "Retry-After: 12\0", "Na\0me: 1", "a(b: 1", "X: a\rb", "\xff: 1",
				"X:\1", "X: abc\1", "X: abc\127",
			}) do
				for _, head in ipairs({ BUSY, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n" }) do
					assert.same({ line, "ERR_HTTP" }, { line, outcome(head .. line .. "\r\n\r\nbody", "chain") })
				end
			end
		end)
	end)

	it("takes as many headers as there may be, and no more", function()
		run(function()
			for _, more in ipairs({ 0, 1 }) do
				for _, direct in ipairs({ "chain", false }) do
					local bytes = BUSY .. ("X-A: 1\r\n"):rep(MAX_LINES - 1 + more) .. "\r\nbody"
					local found = outcome(bytes, direct)
					assert.equal(more == 0 and 503 or "ERR_TOO_LARGE", more == 0 and found.status or found)
				end
				local left = MAX_HEADER + more - #BUSY - #"X:\r\n\r\n"
				local found = outcome(("%sX:%s\r\n\r\nbody"):format(BUSY, ("a"):rep(left)), "chain")
				if more == 0 then assert.equal(left, #found.headers.x) else assert.equal("ERR_TOO_LARGE", found) end
			end
		end)
	end)
end)
