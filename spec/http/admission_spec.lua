-- Limits of connections by address and network, with connections that are only counted.

local admission = require("kms.http.admission")
local client_address = require("kms.http.client_address")

describe("the limit of connections", function()
	local server

	before_each(function()
		server = { max_per_address = 4, max_per_network = admission.max_per_network(40, 4),
			per_client = { addresses = {}, networks = {} } }
	end)

	local function connect(address)
		local conn = { address = address, path = client_address.path(address) }
		return admission.count_address(server, conn) and conn or nil
	end

	it("is one of an address, whatever comes and goes", function()
		local conns = {}
		for i = 1, 4 do conns[i] = assert(connect("1.2.3.4")) end
		assert.is_nil(connect("1.2.3.4"))
		assert(connect("1.2.3.5"))
		admission.discount_address(server, conns[1])
		admission.discount_address(server, conns[1])
		assert(connect("1.2.3.4"))
		assert.is_nil(connect("1.2.3.4"))
	end)

	it("leaves room for others when one IPv6 network uses all of its addresses", function()
		local taken = {}
		for i = 0, 999 do taken[#taken + 1] = connect(("2001:db8:1:%x::1"):format(i)) end
		assert.equal(20, #taken) -- half of all connections
		assert(connect("2001:db8:2:1::1"))
		for _, conn in ipairs(taken) do admission.discount_address(server, conn) end
		assert.is_nil(next(server.per_client.networks, next(server.per_client.networks)))
		assert(connect("2001:db8:1:1::1"))
	end)

	it("of a network is that of sixteen addresses where this is less than half", function()
		assert.equal(64, admission.max_per_network(1000, 4))
		assert.equal(500, admission.max_per_network(1000, 500))
		assert.equal(5000, admission.max_per_network(5000, 5000))
	end)
end)
