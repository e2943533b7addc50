--- spec/support/ports.lua: ports that the kernel gives to nobody else.

local ports = require("spec.support.ports")

describe("spec/support/ports.lua", function()
	it("keeps out of the range that the kernel gives away, wherever that begins", function()
		for given, found in pairs({
			["32768\t60999\n"] = { 10000, 88 }, ["49152\t65535\n"] = { 10000, 152 }, ["20000\t40000\n"] = { 40001, 99 },
			["1024\t50000\n"] = { 50001, 60 },
		}) do
			assert.same(found, { ports.outside(given) })
			local first, low, high = found[1], given:match("(%d+)\t(%d+)")
			assert.is_true(first > tonumber(high) or first + 256 * found[2] <= tonumber(low), given)
			assert.is_true(first + 256 * found[2] <= 65536, given)
		end
	end)

	it("takes the usual range where the kernel shows none, or leaves no room", function()
		assert.same({ 10000, 88 }, { ports.outside(nil) })
		assert.same({ 10000, 88 }, { ports.outside("1024\t65535\n") })
	end)

	it("gives each port once", function()
		local seen = {}
		for _ = 1, 300 do -- more than a block
			local port = ports.take()
			assert.is_nil(seen[port])
			seen[port] = true
		end
	end)
end)
