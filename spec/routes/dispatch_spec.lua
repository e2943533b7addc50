-- Whose connection is left unread for a while after its reply.

require("spec.support.native")

local dispatch = require("kms.routes.dispatch")

local function pause_after(reply, trusted)
	local route = { name = "r", unlimited = true, handler = function() return reply end }
	local self = dispatch.new({
		routes = { match = function() return route end, admit = function() end },
		log = { enabled = function() return false end, name = function() end }, mono_ms = function() return 0 end,
		requests = { observe = function() end }, audit = require("spec.support.audit").new(),
		config = {
			RATE_LIMIT_PER_MINUTE = 0, TRUSTED_PROXIES = trusted or {}, CORS_ORIGINS = {}, IN_ENCLAVE = false,
			BIND_ADDR = "192.0.2.1",
		},
	})
	local request = {
		method = "POST", path = "/", remote = "192.0.2.7", has_body = false, header = function() return "198.51.100.1" end,
	}
	return (select(4, self:handle(request)))
end

describe("kms.routes.dispatch", function()
	it("pauses a client that is beyond a limit, also where the reply says so inside only", function()
		assert.is_nil(pause_after({ status = 200, headers = {} }))
		assert.equal(5, pause_after({ status = 429, headers = { ["Retry-After"] = "5" } }))
		assert.equal(1, pause_after({ status = 429, headers = {} }))
		assert.equal(7, pause_after({ status = 200, headers = {}, wait_s = 7 }))
	end)

	it("pauses no connection that others may use, as behind a proxy", function()
		local proxies = { assert(require("kms.base.cidr").parse("192.0.2.0/24")) }
		assert.is_nil(pause_after({ status = 429, headers = {} }, proxies))
		assert.is_nil(pause_after({ status = 200, headers = {}, wait_s = 7 }, proxies))
	end)
end)
