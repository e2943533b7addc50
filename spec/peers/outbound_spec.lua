local outbound = require("kms.peers.outbound")

local function none() return nil end

local function open(config, env)
	local values = { IN_ENCLAVE = false, ALLOW_PRIVATE_PEERS = true }
	for name, value in pairs(config or {}) do values[name] = value end
	return outbound.new({ config = values, env = env or none })
end

describe("outbound", function()
	it("takes http and https outside an enclave, https alone inside", function()
		local outside, inside = open(), open({ IN_ENCLAVE = true, ALLOW_PRIVATE_PEERS = false })
		assert.equal("http://node.example:8000", outside:check("http://Node.example:8000/"))
		assert.equal("https://node.example/kms", inside:check("https://node.example/kms/"))
		assert.is_nil(inside:check("http://node.example"))
	end)

	it("refuses what is no URL of a peer", function()
		for _, url in ipairs({
			"", "node.example", "ftp://node.example", "file:///etc/passwd", "https://", "https://user@node.example",
			"https://user:pass@node.example", "https://node.example?x=1", "https://node.example#a", "https://no de.example",
			"https://node.example:0", "https://node.example:65536", "https://127.1", "https://[::1", "javascript:alert(1)",
			"https://node.example/\n", ("https://%s.example"):format(("a"):rep(3000)),
		}) do
			local found, message = open():check(url)
			assert.is_nil(found, url)
			assert.equal("string", type(message))
		end
		assert.is_nil(open():check(nil))
	end)

	it("checks addresses unless private peers are allowed, and says which check it is", function()
		assert.is_false(open():guard({ url = "https://a.example" }).check_address)
		assert.equal("none", open():describe())
		local strict = open({ ALLOW_PRIVATE_PEERS = false })
		assert.is_true(strict:guard({ url = "https://a.example" }).check_address)
		assert.equal("connect", strict:describe())
		assert.equal("proxy", open({ ALLOW_PRIVATE_PEERS = false, EGRESS_PROXY = "http://proxy.example:3128" }):describe())
	end)

	it("uses the environment's proxies in an enclave only, and the configured one before them", function()
		local set = { https_proxy = "http://10.0.0.1:3128", HTTP_PROXY = "http://10.0.0.2:3128" }
		local function env(name) return set[name] end
		local inside = open({ IN_ENCLAVE = true, ALLOW_PRIVATE_PEERS = false }, env)
		assert.equal("http://10.0.0.1:3128", inside:guard({ url = "https://a.example" }).proxy)
		assert.equal("http://10.0.0.2:3128", inside:guard({ url = "http://a.example" }).proxy)
		assert.is_nil(open({}, env):guard({ url = "https://a.example" }).proxy)
		local configured = open({ IN_ENCLAVE = true, EGRESS_PROXY = "http://proxy.example:3128" }, env)
		assert.equal("http://proxy.example:3128", configured:guard({ url = "https://a.example" }).proxy)
	end)

	it("names an environment variable that is no proxy", function()
		local found, message = open({ IN_ENCLAVE = true }, function() return "proxy.example:3128" end)
		assert.is_nil(found)
		assert.truthy(message:find("variable https_proxy", 1, true), message)
	end)
end)
