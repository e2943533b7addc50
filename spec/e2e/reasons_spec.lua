-- Machine-readable reasons of refusals (docs/protocol.md section 2).

local apps = require("spec.support.app")
local crypto = require("spec.support.crypto")
local expect = require("spec.support.expect")
local nodes = require("spec.support.node")

describe("a refusal", function()
	local node, app

	setup(function()
		node = nodes.start()
		app = apps.new(node, "200", "reasons")
		node:register({ app })
	end)
	teardown(function() node:stop() end)

	it("says why in a reason, names what is missing, and tells its time", function()
		local function refused(o, reason)
			return expect.refused(app:derive({ path = "p" }, o), 403, "unauthorized", reason)
		end
		local missing = refused({ nonce = false, timestamp = false }, "missing_headers")
		assert.truthy(missing.message:find(": X-App-Nonce, X-App-Timestamp", 1, true), missing.message)
		local stale = refused({ timestamp = os.time() - 1000 }, "stale_timestamp")
		local told = tonumber(stale.message:match("time is (%d+)$"))
		assert.is_true(math.abs(told - os.time()) <= 60, stale.message)
		refused({ nonce = crypto.base64(crypto.random(16)) }, "nonce_unknown")
		local nonce = app:nonce()
		expect.ok(app:derive({ path = "p" }, { nonce = nonce }))
		refused({ nonce = nonce }, "nonce_used")
		refused({ signature = "0x" .. ("0"):rep(130) }, "bad_signature")
		local stranger = apps.new(node, "201", "unregistered")
		expect.refused(stranger:derive({ path = "p" }), 403, "unauthorized", "not_registered")
	end)

	it("says the limit that a body exceeds", function()
		local response = app:call({ method = "PUT", target = "/kms/data", body = ("x"):rep(9 << 20) })
		expect.refused(response, 413, "payload_too_large", "too_large")
		assert.truthy(response.message:find("larger than the %d+ bytes allowed"), response.message)
	end)
end)
