--- GET /digest, without a node around it: its limits, and what it says while there is no tree to show.

require("spec.support.native")

local digest_route = require("kms.routes.digest")

local QUERY = "nonce=" .. ("ab"):rep(16)

describe("kms.routes.digest", function()
	local now, tidied, shown, store

	before_each(function()
		now, tidied, shown = 0, 0, { ("m"):rep(32) }
		store = {
			tree_key = function() return true end, tree_hour = function() return 7 end,
			show_tree = function() return table.unpack(shown, 1, 3) end,
		}
		function store.tidy_tree()
			tidied = tidied + 1
			return false
		end
	end)

	local function new_route(per_minute)
		return digest_route.new({
			store = store, secrets = { current = {} }, mono_ms = function() return now end, wall_ms = function() return 0 end,
			config = { NONCE_RATE_LIMIT_PER_MINUTE = per_minute },
		})
	end

	local function get(route, address)
		local inbound = { request = { query = QUERY }, limit_address = address }
		function inbound:within(limiter, mono_ms) return limiter:take_address(self.limit_address, mono_ms) end
		return route:routes()[1].handler(inbound)
	end

	it("limits the clients together whose addresses are not known", function()
		local route = new_route(30)
		for i = 1, 600 do assert.equal(200, get(route, nil).status, i) end
		local reply = get(route, nil)
		assert.equal(429, reply.status)
		assert.is_true(tonumber(reply.headers["Retry-After"]) >= 1)
		assert.equal(200, get(route, "192.0.2.1").status)
		now = 60000
		assert.equal(200, get(route, nil).status)
	end)

	it("limits each address that is known", function()
		local route = new_route(2)
		for _ = 1, 2 do assert.equal(200, get(route, "192.0.2.1").status) end
		assert.equal(429, get(route, "192.0.2.1").status)
		assert.equal(200, get(route, "192.0.2.2").status)
	end)

	it("is 503 while the tree is built, and when it changes faster than it can be tidied", function()
		shown = { nil, "not possible in this state", "ERR_STATE" }
		assert.equal(503, get(new_route(0), "192.0.2.1").status)
		shown = { ("m"):rep(32) }
		store.tree_key = function() return nil, "not possible in this state", "ERR_STATE" end
		assert.equal(503, get(new_route(0), "192.0.2.1").status)
		store.tree_key = function() return true end
		function store.tidy_tree()
			tidied = tidied + 1
			return tidied < 100000
		end
		tidied = 0
		assert.equal(503, get(new_route(0), "192.0.2.1").status)
		assert.is_true(tidied < 10000, tidied)
	end)
end)
