-- A member whose records are of applications that nobody has registered.

local apps = require("spec.support.app")
local nodes = require("spec.support.node")
local peers = require("spec.support.peer")
local wait = require("spec.support.wait")

local INVENTED = 10000

describe("a member that invents applications", function()
	local node, peer

	setup(function()
		node = nodes.start({ env = { MAX_SYNC_PAYLOAD_BYTES = "50000000" } })
		peer = peers.new(node, "inventive peer")
		node:register({ peer })
		wait.until_true("the peer to be known", function() return peer:ask_secret().status ~= 403 end)
		peer:join()
	end)

	teardown(function() node:stop() end)

	local function new_app(id)
		local app = apps.new(node, id, "application " .. id)
		node:register({ app })
		return app
	end

	-- A delta of 5 MB: one record for each application.
	local function invented()
		local data, key = {}, ("k"):rep(330)
		for i = 1, INVENTED do data[tostring(500000 + i)] = { peer:record("1", key, "", { tombstone = true }) } end
		return data
	end

	it("takes no namespace from those that are registered", function()
		assert.equal(200, new_app("800"):put("k", "v").status)
		local response = peer:delta(invented())
		assert.equal(200, response.status, response.body)
		local inner = response.inner
		assert.same({ INVENTED, 0, INVENTED, INVENTED },
			{ inner.total, inner.merged, inner.rejected, inner.later })
		assert.equal(1, node:status().data_store.namespaces)
		assert.equal(200, new_app("801"):put("k", "v").status)
		local app = new_app("802") -- its first record comes from the member
		assert.equal(1, peer:delta({ ["802"] = { peer:record("802", "k", "v") } }).inner.merged)
		assert.equal("v", app:value("k"))
		assert.equal(3, node:status().data_store.namespaces)
		node:wait_log("applications that the chain does not know")
	end)

	it("cannot make one that has one wait", function()
		local response = peer:delta({ ["800"] = { peer:record("800", "from the member", "v") }, ["499999"] = {
			peer:record("499999", "k", "v") } })
		assert.same({ 2, 1, 1 }, { response.inner.total, response.inner.merged, response.inner.later })
	end)
end)
