local cidr = require("kms.base.cidr")
local client_address = require("kms.http.client_address")

local function ranges(...)
	local list = {}
	for i, text in ipairs({ ... }) do list[i] = assert(cidr.parse(text)) end
	return list
end

describe("remote", function()
	local trusted = ranges("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")

	it("is the peer where nobody is trusted, or the peer is not", function()
		assert.equal("10.0.0.1", client_address.resolve("10.0.0.1", "1.2.3.4", nil))
		assert.equal("10.0.0.1", client_address.resolve("10.0.0.1", nil, trusted))
		assert.equal("9.9.9.9", client_address.resolve("9.9.9.9", "1.2.3.4", trusted))
		assert.equal("192.0.2.8", client_address.resolve("192.0.2.8", "1.2.3.4", trusted))
	end)

	it("is not limited behind an enclave's ingress, which dials from loopback", function()
		assert.is_nil(client_address.limited("127.0.0.1", nil, nil, true))
		assert.is_nil(client_address.limited("::1", "1.2.3.4", trusted, true))
		assert.equal("127.0.0.1", client_address.limited("127.0.0.1", nil, nil, false))
		assert.equal("1.2.3.4", client_address.limited("1.2.3.4", nil, nil, true))
	end)

	it("is limited in an enclave where loopback is a trusted proxy, or is only what was forwarded", function()
		local proxies = ranges("127.0.0.1", "10.0.0.0/8")
		assert.equal("127.0.0.1", client_address.limited("127.0.0.1", nil, proxies, true))
		assert.equal("1.2.3.4", client_address.limited("127.0.0.1", "1.2.3.4", proxies, true))
		assert.equal("127.0.0.2", client_address.limited("10.0.0.1", "127.0.0.2", proxies, true))
	end)

	it("is the right-most forwarded address that is not trusted itself", function()
		for forwarded, want in pairs({
			["1.2.3.4"] = "1.2.3.4",
			["6.6.6.6, 1.2.3.4"] = "1.2.3.4",
			["6.6.6.6,1.2.3.4 , 10.1.1.1,192.0.2.7"] = "1.2.3.4",
			["6.6.6.6, 2001:db8::1"] = "6.6.6.6",
			["6.6.6.6, [2001:db8::1]:443, 10.0.0.2:80"] = "6.6.6.6",
			["2a00::1"] = "2a00::1",
			["[2a00::1]:99"] = "2a00::1",
			["1.2.3.4:99"] = "1.2.3.4",
		}) do
			assert.equal(want, client_address.resolve("10.0.0.1", forwarded, trusted), forwarded)
		end
	end)

	it("is the last hop that was trusted where an entry is malformed or all are trusted", function()
		for forwarded, want in pairs({
			[""] = "10.0.0.1",
			["unknown"] = "10.0.0.1",
			["1.2.3.4, nonsense"] = "10.0.0.1",
			["1.2.3.4,"] = "10.0.0.1",
			["1.2.3.4, 01.2.3.4, 10.2.2.2"] = "10.2.2.2",
			["1.2.3.4, _hidden, 10.3.3.3, 10.2.2.2"] = "10.3.3.3",
			["10.4.4.4, 10.3.3.3"] = "10.4.4.4",
			["1.2.3.4 5.6.7.8"] = "10.0.0.1",
			["[1.2.3.4"] = "10.0.0.1",
		}) do
			assert.equal(want, client_address.resolve("10.0.0.1", forwarded, trusted), forwarded)
		end
	end)

	it("takes a mapped peer for the IPv4 address it is", function()
		assert.equal("1.2.3.4", client_address.resolve("::ffff:10.0.0.1", "1.2.3.4", trusted))
	end)

	it("tells IPv6 addresses apart by /48, then by /64, and IPv4 addresses by themselves", function()
		local path = client_address.path
		assert.same(path("2001:db8:1:2::1"), path("2001:db8:1:2:ffff::9"))
		local one, other = path("2001:db8:1:2::1"), path("2001:db8:1:3::1")
		assert.equal(one[1], other[1])
		assert.not_equal(one[2], other[2])
		assert.not_equal(one[1], path("2001:db8:2:2::1")[1])
		assert.not_equal(path("1.2.3.4")[1], path("1.2.3.5")[1])
		assert.equal(path("1.2.3.4")[1], path("1.2.3.4")[2])
		assert.same(path("1.2.3.4"), path("::ffff:1.2.3.4"))
		assert.same({ "unix", "unix" }, path("unix"))
	end)

	it("knows loopback", function()
		for _, address in ipairs({ "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1" }) do
			assert.is_true(client_address.is_loopback(address), address)
		end
		for _, address in ipairs({ "128.0.0.1", "::2", "10.0.0.1" }) do
			assert.is_false(client_address.is_loopback(address), address)
		end
	end)
end)
