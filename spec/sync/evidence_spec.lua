-- kms.sync.evidence: what a node shows with its request for the master secret, and what not.

local attest = require("kms.attest")
local crypto = require("spec.support.crypto")
local evidence = require("kms.sync.evidence")
local native = require("spec.support.native")
local wait = require("spec.support.wait")

local loop = require("kms.base.loop")

describe("a document that goes with a request for the master secret", function()
	it("says who asks, for what and under which policies, and nothing of custodians", function()
		local root = native.attest_root(native.secret_random(32))
		local own = crypto.made_up("who asks")
		local tee = { address = own.wallet, public_der = own.der }
		function tee:attest(nonce, user_data, public_key) -- luacheck: no self
			return root:make({ now_ms = native.wall_ms(), nonce = nonce, user_data = user_data, public_key = public_key })
		end
		local made = assert(evidence.new({
			config = {}, tee = tee, log = {}, wall_ms = native.wall_ms, skew_ms = 1,
			policy_hash = function() return ("ab"):rep(32) end,
		}))
		local document
		loop.spawn(function() document = made:make("0x" .. ("1"):rep(40), "nonce", "04") end)
		wait.until_true("the document", function() return document end)
		local facts = native.attest_read(native.base64_decode(document))
		assert.same({ wallet = own.wallet, purpose = "secret", policy = ("ab"):rep(32) },
			attest.read_user_data(facts.user_data))
		assert.is_nil(facts.user_data:find("recovery", 1, true))
	end)
end)
