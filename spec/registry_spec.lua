local fake_chain = require("spec.support.fake_chain")
local native = require("spec.support.native")
local registry = require("kms.registry")

local WALLET = "0x" .. ("ab"):rep(20)
local _, p384 = native.identity(native.secret_random(32))
local KEY = p384:public_der()

describe("registry", function()
	local chain, reg

	before_each(function()
		chain = fake_chain.new()
		chain:register("7", WALLET, KEY)
		reg = registry.new(chain, 180000)
	end)

	it("gives the facts of an instance in good standing", function()
		local facts = assert(reg:authorize(WALLET, 0))
		assert.same({ "7", "1", "9", WALLET }, { facts.app_id, facts.version_id, facts.instance_id, facts.wallet })
		assert.equal(native.peer_point(KEY), facts.point)
	end)

	local refusals = {
		{ "unknown wallet", function(c) c.instances[WALLET] = nil end, "wallet is not a registered instance" },
		{ "stopped instance", function(c) c.instances[WALLET].status = 1 end, "instance is not active" },
		{ "failed instance", function(c) c.instances[WALLET].status = 2 end, "instance is not active" },
		{ "unverified instance", function(c) c.instances[WALLET].zk_verified = false end, "instance is not verified" },
		{ "inactive app", function(c) c.apps["7"].status = 1 end, "app is not active" },
		{ "revoked app", function(c) c.apps["7"].status = 2 end, "app is not active" },
		{ "missing app", function(c) c.apps["7"] = nil end, "app is not registered" },
		{ "app id 0", function(c) c:register("0", WALLET, KEY) end, "app id is not in the range of app ids" },
		{ "app id beyond 64 bits", function(c) c:register("18446744073709551616", WALLET, KEY) end,
			"app id is not in the range of app ids" },
		{ "revoked version", function(c) c.versions["7/1"].status = 2 end, "version is revoked" },
		{ "version of no known status", function(c) c.versions["7/1"].status = 3 end, "version is revoked" },
		{ "missing version", function(c) c.versions["7/1"] = nil end, "version is not registered" },
		{ "teePubkey that is no key", function(c) c.instances[WALLET].tee_pubkey = ("x"):rep(120) end,
			"registered teePubkey is not a P-384 key" },
	}
	for _, case in ipairs(refusals) do
		it("refuses: " .. case[1], function()
			case[2](chain)
			local facts, message, code = reg:authorize(WALLET, 0)
			assert.is_nil(facts)
			assert.equal(case[3], message)
			assert.equal("ERR_UNAUTHORIZED", code)
		end)
	end

	it("accepts a deprecated version", function()
		chain.versions["7/1"].status = 1
		assert.truthy(reg:authorize(WALLET, 0))
	end)

	it("asks again only when the answer is as old as the cache time", function()
		reg:authorize(WALLET, 0)
		chain.instances[WALLET].status = 1
		assert.truthy(reg:authorize(WALLET, 179999))
		assert.is_nil((reg:authorize(WALLET, 180000)))
	end)

	it("keeps a refusal for ten seconds at the most", function()
		chain.instances[WALLET].zk_verified = false
		assert.is_nil((reg:authorize(WALLET, 0)))
		chain.instances[WALLET].zk_verified = true
		assert.is_nil((reg:authorize(WALLET, 9999)))
		assert.truthy(reg:authorize(WALLET, 10000))
	end)

	it("refuses without caching when the chain does not answer", function()
		chain.down = true
		local facts, _, code = reg:authorize(WALLET, 0)
		assert.is_nil(facts)
		assert.equal("ERR_CHAIN", code)
		chain.down = false
		assert.truthy(reg:authorize(WALLET, 0))
	end)

	it("goes on with an unexpired answer while the chain is down, and not with an expired one", function()
		reg:authorize(WALLET, 0)
		chain.down = true
		assert.truthy(reg:authorize(WALLET, 179999))
		local facts, _, code = reg:authorize(WALLET, 180000)
		assert.is_nil(facts)
		assert.equal("ERR_CHAIN", code)
	end)
end)
