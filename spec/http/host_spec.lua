local host = require("kms.http.host")

describe("kms.http.host", function()
	it("takes addresses and localhost, with and without a port", function()
		for _, text in ipairs({
			"127.0.0.1", "127.0.0.1:9464", "10.1.2.3:1", "[::1]", "[::1]:9464", "localhost", "LOCALHOST:80",
		}) do assert.is_true(host.is_local(text), text) end
	end)

	it("refuses names, which DNS can rebind, and what is malformed", function()
		for _, text in ipairs({
			"example.com", "example.com:9464", "localhost.example.com", "127.0.0.1.example.com", "", ":80", "[::1", "::1:x",
			"127.0.0.1:", "127.0.0.1:80:80", "localhost ", "127.0.0.1@example.com",
		}) do assert.is_false(host.is_local(text), text) end
		assert.is_false(host.is_local(nil))
	end)

	it("knows listening addresses on loopback", function()
		for _, text in ipairs({ "127.0.0.1:80", "127.9.9.9:80", "[::1]:80" }) do
			assert.is_true(host.is_loopback(text), text)
		end
		for _, text in ipairs({ "0.0.0.0:80", "[::]:80", "10.0.0.1:80" }) do
			assert.is_false(host.is_loopback(text), text)
		end
	end)
end)
