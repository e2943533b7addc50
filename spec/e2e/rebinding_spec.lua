-- DNS rebinding: a page in a browser on this machine reaches servers on loopback under a name of its own.

local http = require("spec.support.http")
local nodes = require("spec.support.node")

describe("a node on loopback", function()
	local metrics_port = nodes.free_port()
	local node

	setup(function() node = nodes.start({ env = { METRICS_ADDR = "127.0.0.1:" .. metrics_port } }) end)
	teardown(function() node:stop() end)

	local function status_of(port, target, host)
		return http.request(port, { method = "GET", target = target, host = host }).status
	end

	it("shows /status and /metrics only to clients that name an address or localhost", function()
		for _, host in ipairs({ "127.0.0.1", "localhost:8000", "[::1]:1" }) do
			assert.equal(200, status_of(node.port, "/status", host))
			assert.equal(200, status_of(metrics_port, "/metrics", host))
		end
		assert.equal(403, status_of(node.port, "/status", "attacker.example"))
		assert.equal(403, status_of(metrics_port, "/metrics", "attacker.example:9464"))
	end)

	it("serves its other routes under any name", function()
		assert.equal(200, status_of(node.port, "/health", "kms.example"))
		assert.equal(200, status_of(node.port, "/nonce", "kms.example"))
	end)
end)
