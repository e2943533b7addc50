local native = require("spec.support.native")
local secrets = require("kms.node.master_secrets")

local function random() return native.secret_random(32) end

describe("secrets", function()
	local tee, saved

	before_each(function()
		saved = {}
		tee = {
			random_secret = random,
			load_masters = function() return saved end,
			save_master = function(_, secret)
				table.insert(saved, 1, secret)
				return true
			end,
		}
	end)

	it("makes one for a chain that has none, keeps it, and the next start takes it up", function()
		local held = secrets.new({ tee = tee })
		assert.is_true(held:recall())
		assert.is_true(held:publishable())
		assert.is_true(held:is_fresh())
		assert.equal("generated", held.state)
		assert.is_true(saved[1]:equals(held.current))
		local again = secrets.new({ tee = tee })
		again:recall()
		assert.is_true(again:choose(saved[1]:keccak256()))
		assert.is_true(again.current:equals(held.current))
		assert.is_false(again:is_fresh())
		assert.equal(1, #saved)
	end)

	it("tells of each secret that comes into use, once", function()
		local told = {}
		local held = secrets.new({
			tee = tee, on_use = function(secret, state, from) told[#told + 1] = { secret:keccak256(), state, from } end,
		})
		held:publishable()
		local first, second = held.current, random()
		held:choose(first:keccak256())
		held:use(second, "synced", "https://peer")
		held:use(second, "synced", "https://peer")
		assert.same({ { first:keccak256(), "generated" }, { second:keccak256(), "synced", "https://peer" } }, told)
	end)

	it("publishes the same one again, never another, while it is held", function()
		local held = secrets.new({ tee = tee })
		held:publishable()
		local first = held.current
		held:publishable()
		assert.equal(first, held.current)
	end)

	it("publishes what an earlier run kept before what the operator gives, and that before a new one", function()
		local given = random()
		local held = secrets.new({ tee = tee, given = given })
		held:publishable()
		assert.is_true(held.current:equals(given))
		saved = { random() }
		held = secrets.new({ tee = tee, given = given })
		held:recall()
		held:publishable()
		assert.is_true(held.current:equals(saved[1]))
	end)

	it("holds what was superseded, and takes it up again when its hash comes back", function()
		local held = secrets.new({ tee = tee })
		held:publishable()
		local own, other = held.current, random()
		assert.is_false(held:choose(other:keccak256()))
		assert.is_true(held:use(other, "synced", "http://peer"))
		assert.same({ "synced", "http://peer" }, { held.state, held.from })
		assert.is_false(held:is_fresh())
		held:age(other:keccak256(), 1000)
		assert.is_true(held:choose(own:keccak256()))
		assert.equal(own, held.current)
		assert.same({ "generated" }, { held.state, held.from })
		assert.is_true(held:choose(other:keccak256()))
	end)

	it("lets go of a spare only after the chain has shown another hash for an hour without a break", function()
		local held = secrets.new({ tee = tee })
		held:publishable()
		local own, other = held.current, random()
		held:use(other, "synced")
		held:age(other:keccak256(), 0)
		held:age(nil, 3600000) -- no hash at all is no other one
		held:age(other:keccak256(), 3600001)
		held:age(other:keccak256(), 7200001)
		assert.equal(1, #held.spares)
		held:age(own:keccak256(), 7200002)
		held:age(other:keccak256(), 7200003)
		held:age(other:keccak256(), 10800003)
		assert.equal(1, #held.spares)
		held:age(other:keccak256(), 10800004)
		assert.equal(0, #held.spares)
		assert.is_false(held:choose(own:keccak256()))
	end)

	it("puts nothing into use that it could not keep", function()
		function tee.save_master() return nil, "disk full" end
		local held = secrets.new({ tee = tee })
		assert.same({ nil, "disk full" }, { held:publishable() })
		assert.is_nil(held.current)
	end)

	it("says what is wrong with what an earlier run kept, each time until it is read", function()
		function tee.load_masters() return nil, "master.sealed: damaged" end
		local held = secrets.new({ tee = tee })
		for _ = 1, 2 do assert.same({ nil, "master.sealed: damaged" }, { held:recall() }) end
		function tee.load_masters() return saved end
		assert.is_true(held:recall())
	end)

	it("bounds the spares", function()
		local held = secrets.new({ tee = tee })
		for _ = 1, 40 do held:use(random(), "synced") end
		assert.equal(16, #held.spares)
	end)

	it("works where nothing is kept on disk", function()
		local held = secrets.new({ tee = { random_secret = random } })
		assert.is_true(held:recall())
		assert.is_true(held:publishable())
		assert.equal("generated", held.state)
	end)
end)
