-- Three real nodes, one of which has a clock that is wrong: it acknowledges no write that the others would not take.

local apps = require("spec.support.app")
local cjson = require("cjson")
local chain_server = require("spec.support.chain_server")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local loopback = require("spec.support.loopback")
local preload = require("spec.support.preload")
local wait = require("spec.support.wait")

describe("a node with a clock that is wrong, among others", function()
	local chain, list

	before_each(function() chain, list = chain_server.start(), {} end)

	after_each(function()
		for _, node in ipairs(list) do node:stop() end
		loopback.close()
	end)

	local function add(shift_s)
		local env = { KMS_NODE_TICK_SECONDS = "1", DATA_SYNC_INTERVAL_SECONDS = "1", REGISTRY_CACHE_TTL_SECONDS = "1" }
		if shift_s then env.LD_PRELOAD, env.SHIFT_SECONDS = preload("shifted_clock"), tostring(shift_s) end
		list[#list + 1] = evm_node.serve(chain, env)
		return list[#list]
	end

	local function refusal(node)
		local reason = node:status().clock.writes_refused
		return reason ~= cjson.null and reason or nil
	end

	-- Two good nodes and one whose clock is shifted. Returns an application's clients of the good first and the other.
	local function start(shift_s)
		local good = add()
		add()
		local wrong = add(shift_s)
		local one = apps.new(good, "700", "clock cluster app")
		chain:register("700", one.wallet, one.identity.der)
		wait.until_true("the refusal", function() return refusal(wrong) end)
		return one, apps.new(wrong, "700", "clock cluster app"), wrong
	end

	it("refuses writes 40 s ahead, and serves what the others have written", function()
		local one, other, wrong = start(40)
		assert.truthy(refusal(wrong):find("^clock: [34]%d s ahead of 2 of 3 clocks$"), refusal(wrong))
		expect.ok(one:put("a", "one"))
		wait.until_true("the write to arrive", function() return other:value("a") == "one" end)
		expect.refused(other:put("a", "two"), 503, "service_unavailable")
		assert.equal("one", one:value("a"))
		assert.is_nil(refusal(list[1]))
		assert.is_nil(refusal(list[2]))
	end)

	it("refuses writes 40 s behind", function()
		local one, other, wrong = start(-40)
		assert.truthy(refusal(wrong):find("behind", 1, true), refusal(wrong))
		expect.refused(other:put("a", "two"), 503, "service_unavailable")
		expect.ok(one:put("a", "one"))
	end)
end)
