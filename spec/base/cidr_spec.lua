--- IP addresses and ranges (RFC 4291 section 2.2 for the forms of IPv6 text).

local cidr = require("kms.base.cidr")

describe("kms.base.cidr", function()
	it("parses the forms of RFC 4291", function()
		local forms = {
			["ABCD:EF01:2345:6789:ABCD:EF01:2345:6789"] = "abcdef0123456789abcdef0123456789",
			["2001:DB8:0:0:8:800:200C:417A"] = "20010db80000000000080800200c417a",
			["2001:DB8::8:800:200C:417A"] = "20010db80000000000080800200c417a",
			["FF01::101"] = "ff010000000000000000000000000101",
			["::1"] = ("0"):rep(31) .. "1",
			["::"] = ("0"):rep(32),
			["1::"] = "0001" .. ("0"):rep(28),
			["0:0:0:0:0:0:13.1.68.3"] = ("0"):rep(24) .. "0d014403",
			["::13.1.68.3"] = ("0"):rep(24) .. "0d014403",
			["::FFFF:129.144.52.38"] = "81903426", -- mapped: the IPv4 address itself
			["::ffff:8190:3426"] = "81903426",
			["255.0.10.1"] = "ff000a01",
		}
		for text, hex in pairs(forms) do
			local bytes = assert(cidr.parse_address(text), text)
			assert.equal(hex, (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)), text)
		end
	end)

	it("refuses everything else", function()
		for _, text in ipairs({
			"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1..2.3", ":::", "1::2::3", ":1", "1:", "12345::",
			"1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "::1%eth0", "[::1]", "1.2.3.4::", "::1.2.3.4:5",
			"g::", "1:2:3:4:5:6:7:1.2.3.4", ("1"):rep(50),
		}) do
			assert.is_nil(cidr.parse_address(text), text)
		end
	end)

	it("parses ranges without stray bits", function()
		for _, text in ipairs({ "0.0.0.0/0", "10.0.0.0/8", "10.128.0.0/9", "1.2.3.4/32", "::/0", "2001:db8::/29", "::1/128",
			"::ffff:10.0.0.0/104" }) do
			assert.is_truthy(cidr.parse(text), text)
		end
		for _, text in ipairs({ "10.0.0.1/8", "10.64.0.0/9", "1.2.3.4/33", "::/129", "2001:db8::/28", "1.2.3.4/", "/8",
			"1.2.3.4/032", "::ffff:10.0.0.0/95", "1.2.3.4/8/8" }) do
			assert.is_nil(cidr.parse(text), text)
		end
	end)

	it("knows what a range holds", function()
		local ranges = { cidr.parse("10.128.0.0/9"), cidr.parse("2001:db8::/32"), cidr.parse("127.0.0.1") }
		for _, text in ipairs({ "10.128.0.0", "10.255.255.255", "::ffff:10.200.0.1", "2001:db8:ffff::1", "127.0.0.1" }) do
			assert.is_true(cidr.contains(ranges, text), text)
		end
		for _, text in ipairs({ "10.127.255.255", "11.0.0.0", "2001:db9::", "127.0.0.2", "x", "::" }) do
			assert.is_false(cidr.contains(ranges, text), text)
		end
		assert.is_true(cidr.contains({ cidr.parse("0.0.0.0/0") }, "9.9.9.9"))
		assert.is_false(cidr.contains({ cidr.parse("0.0.0.0/0") }, "::1"))
	end)

	it("knows loopback", function()
		for _, text in ipairs({ "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1" }) do
			assert.is_true(cidr.is_loopback(text), text)
		end
		for _, text in ipairs({ "126.0.0.1", "128.0.0.1", "::", "::2", "localhost" }) do
			assert.is_false(cidr.is_loopback(text), text)
		end
	end)
end)
