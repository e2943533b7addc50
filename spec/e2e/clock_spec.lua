-- A node whose clock differs from the chain's and from the members': it refuses writes and goes on reading. The chain
-- and the members are in this process; theirs is the clock that is shifted.

local apps = require("spec.support.app")
local cjson = require("cjson")
local chain_server = require("spec.support.chain_server")
local crypto = require("spec.support.crypto")
local evm_node = require("spec.support.evm_node")
local expect = require("spec.support.expect")
local loopback = require("spec.support.loopback")
local members = require("spec.support.member")
local wait = require("spec.support.wait")

local MASTER = ("\7"):rep(32)
local FEATURES = { "complete", "pop", "store", "stub", "time" }

describe("a node whose clock differs", function()
	local chain, node, app

	after_each(function()
		if node then node:stop() end
		node = nil
		loopback.close()
	end)

	-- A member that says a time: shift_s seconds from the true one. pop: whether its replies name their exchange.
	local function add(name, shift_s, pop)
		local member = members.start(name, MASTER)
		chain:register("49", member.wallet, member.identity.der, member.url)
		member.shift_s = shift_s
		function member.on_request(exchange)
			local reply = { status = "ok", features = FEATURES, store = crypto.hex(member.wallet:sub(3, 18)) }
			if pop then reply.pop = exchange.signature else reply.features = { "time" } end
			reply.time = (os.time() + member.shift_s) * 1000
			local kind = exchange.inner.type
			if kind == "master_secret_request" then
				reply.sealed = crypto.seal_secret(MASTER, exchange.inner.ecdh_pubkey)
			elseif kind == "snapshot_request" then
				reply.data, reply.complete = {}, true
			else
				reply.total, reply.merged, reply.skipped, reply.rejected, reply.skip_reasons = 0, 0, 0, 0, {}
			end
			return reply
		end
		return member
	end

	local function start()
		node = evm_node.serve(chain, { KMS_NODE_TICK_SECONDS = "1", DATA_SYNC_INTERVAL_SECONDS = "1", WRITE_COPIES = "1" })
		app = apps.new(node, "700", "clock app")
		chain:register("700", app.wallet, app.identity.der)
	end

	before_each(function()
		chain = chain_server.start()
		chain.hash = "0x" .. crypto.hex(crypto.keccak256(MASTER))
	end)

	local function refusal()
		local reason = node:status().clock.writes_refused
		return reason ~= cjson.null and reason or nil
	end

	local function refuses_writes_only(text)
		wait.until_true("the refusal", refusal)
		assert.truthy(refusal():find(text), refusal())
		for _, response in ipairs({ app:put("b", "two"), app:delete("a") }) do
			expect.refused(response, 503, "service_unavailable")
			assert.truthy(response.body:find('"reason":"clock"', 1, true), response.body)
		end
		assert.equal("one", app:value("a"))
		assert.equal(200, app:derive({ path = "p" }).status)
		assert.is_true(node:status().node.service_available)
		assert.truthy(node:log():find("the clock is wrong: writes are refused", 1, true))
	end

	it("from the head, which is ahead, refuses writes until it is right again", function()
		add("clock member", 0, true)
		start()
		expect.ok(app:put("a", "one"))
		local true_s = os.time
		chain.time_s = true_s() + 100
		refuses_writes_only("^clock: %d+ s behind the chain$")
		chain.time_s = nil
		wait.until_true("writes to be accepted", function() return not refusal() end)
		expect.ok(app:put("b", "two"))
	end)

	it("from two members' clocks, which are behind, refuses writes until they agree", function()
		local one, two = add("clock one", 0, true), add("clock two", 0, true)
		start()
		expect.ok(app:put("a", "one"))
		one.shift_s, two.shift_s = -40, -41
		refuses_writes_only("^clock: [34]%d s ahead of 2 of 3 clocks$")
		local offset = node:status().clock.members[one.wallet]
		assert.is_true(offset <= -38000 and offset >= -43000, offset)
		one.shift_s = 0
		wait.until_true("writes to be accepted", function() return not refusal() end)
		expect.ok(app:put("b", "two"))
	end)

	it("from two members' clocks that are not proven to be theirs now, accepts writes", function()
		local one, two = add("clock three", -40, false), add("clock four", -40, false)
		start()
		expect.ok(app:put("a", "one"))
		local calls = one:count("delta") + two:count("delta")
		wait.until_true("more replies", function() return one:count("delta") + two:count("delta") >= calls + 4 end)
		assert.is_nil(refusal())
		assert.same({}, node:status().clock.members)
	end)

	it("from one member's clock, of two, warns and accepts writes", function()
		local member = add("clock five", -40, true)
		start()
		wait.until_true("the member's time", function() return node:status().clock.members[member.wallet] end)
		expect.ok(app:put("a", "one"))
		assert.is_nil(refusal())
		assert.truthy(node:log():find("the clock of a member differs", 1, true))
	end)
end)
