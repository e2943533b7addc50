-- What a call that failed may have done: whether its request was sent, and how often (lua/kms/http/fetch.lua).

local fetch = require("kms.http.fetch")
local loopback = require("spec.support.loopback")
local preload = require("spec.support.preload")
local uv = require("luv")

local run, reply = loopback.run, loopback.reply

describe("fetch", function()
	-- A server that answers the first request, and breaks the connection at each later one.
	local function breaking()
		local server
		server = loopback.serve(function(connection, bytes)
			if not loopback.length_of(bytes) then return false end
			server.count = (server.count or 0) + 1
			if server.count == 1 then connection:write(reply("{}")) else connection:close() end
			return true
		end)
		return server
	end

	local function post(url, once, direct)
		return fetch.request({
			url = url, method = "POST", body = ("b"):rep(1000), once = once, direct = direct or nil, timeout_ms = 60000,
		})
	end

	it("sends a body once where it is told to, also on a connection that was kept alive and breaks", function()
		run(function()
			for _, once in ipairs({ true, false }) do
				for _, direct in ipairs({ false, "peer", "chain" }) do
					local server = breaking()
					assert.equal(200, assert(post(server.url, once, direct)).status)
					local response, _, code, sent = post(server.url, once, direct)
					assert.same({ nil, "ERR_CONNECT", true }, { response, code, sent })
					assert.same({ once, direct, once and 2 or 3 }, { once, direct, server.count })
				end
			end
		end)
	end)

	it("says whether a request that failed may have been sent", function()
		run(function()
			local gone = loopback.own(uv.new_tcp())
			gone:bind("127.0.0.1", 0)
			local url = "http://127.0.0.1:" .. gone:getsockname().port
			local silent = loopback.serve(function() return true end)
			for _, direct in ipairs({ false, "peer", "chain" }) do
				local response, _, code, sent = post(url, true, direct)
				assert.same({ nil, "ERR_CONNECT", false }, { response, code, sent })
				response, _, code, sent = fetch.request({
					url = silent.url, method = "POST", body = "b", timeout_ms = 2000, direct = direct or nil,
				})
				assert.same({ nil, "ERR_TIMEOUT", true }, { response, code, sent })
				response, _, code, sent = post("nonsense", true, direct)
				assert.same({ nil, "ERR_URL", nil }, { response, code, sent })
			end
		end)
	end)

	it("says that a request may have been sent which the kernel takes late", function()
		local output, status = loopback.child([[
			local fetch = require("kms.http.fetch")
			local loopback = require("spec.support.loopback")
			loopback.run(function()
				local silent = loopback.serve(function() return true end)
				local response, _, code, sent = fetch.request({
					url = silent.url .. "/late", method = "POST", body = "body", direct = "peer", once = true, timeout_ms = 2000,
				})
				print(response, code, sent, (table.concat(silent.seen):match("^POST /late .*\r\n\r\n(body)$")))
			end)
		]], preload("late_socket"))
		assert.same({ "nil\tERR_TIMEOUT\ttrue\tbody\n", 0 }, { output, status })
	end)
end)
