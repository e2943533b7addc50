-- Calls to other servers whose bodies stay in C.

local native = require("spec.support.native") -- libcurl may use OpenSSL: memory comes first
local fetching = require("spec.support.fetch")
local loopback = require("spec.support.loopback")
local wait = require("spec.support.wait")

local run = loopback.run
local serve, reply = loopback.serve, loopback.reply
local answering = loopback.answering
local expect = fetching.expect

describe("fetch", function()
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
end)
