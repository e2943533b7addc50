-- Values behind stubs that members gave: hash trees do not show who still has them.

local loop = require("kms.base.loop")
local native = require("spec.support.native")
local replicas = require("spec.support.replicas")
local tree = require("kms.sync.tree")
local wait = require("spec.support.wait")

describe("repair", function()
	local cluster, members

	before_each(function()
		cluster = replicas.new(3)
		members = cluster.members
	end)

	-- One exchange. Returns { how it ends, its calls }.
	local function exchange(from, to)
		local found
		cluster.calls, cluster.now = 0, cluster.now + 10000
		loop.spawn(function()
			assert(tree.prepare(from.store, cluster.secret))
			assert(tree.prepare(to.store, cluster.secret))
			found = assert(from.repair.one:run(from.peer_of[to.index]))
		end)
		wait.until_true("the end of the exchange", function() return found end, 60)
		return { found.state, cluster.calls }
	end

	-- Gives the second member room for a few values only.
	local function limit_second()
		local store = assert(native.store({ self = replicas.wallet_of(2), max_app_bytes = 200 }))
		members[2].store, members[2].replies.store = store, store
	end

	-- The second member has evicted a value that the first one has, and gives the third one its stub. That hid the value.
	it("brings the value of what another member gave without it", function()
		limit_second()
		cluster:fill({ members[1], members[2] }, 1, 10, 20)
		exchange(members[3], members[2])
		assert.is_true(members[3].store:stats().stubs > 0)
		assert.equal(10, members[3].store:stats().stubs + members[3].store:stats().live_keys)
		assert.equal("equal", exchange(members[3], members[1])[1])
		assert.equal(10, members[3].store:stats().live_keys)
	end)

	it("asks each member once for a value that nobody has, and again after it has restarted", function()
		limit_second()
		for i = 1, 10 do cluster:write(members[2], "k" .. i) end
		assert.equal("done", exchange(members[3], members[2])[1])
		assert.is_true(members[3].store:stats().stubs > 0)
		assert.same({ "equal", 2 }, exchange(members[3], members[2]))
		assert.same({ "equal", 1 }, exchange(members[3], members[2]))
		members[3].peer_of[2].store = "another"
		assert.same({ "equal", 2 }, exchange(members[3], members[2]))
		assert.same({ "equal", 1 }, exchange(members[3], members[2]))
	end)
end)
