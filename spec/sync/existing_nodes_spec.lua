local existing_nodes = require("kms.sync.existing_nodes")
local loop = require("kms.base.loop")

local SECRET = {}

describe("the snapshots of existing nodes", function()
	local existing, members, fetched, lines, now, outcome

	local function member(name, features)
		return { wallet = name, heard = true, features = features or {}, callable = true }
	end

	before_each(function()
		members, fetched, lines, now = { member("a"), member("b"), member("ours", { store = true }) }, {}, {}, 0
		outcome = function() return { complete = true } end
		existing = existing_nodes.new({
			mono_ms = function() return now end,
			log = { limited = function(_, _, _, _, text, fields) lines[#lines + 1] = { text, fields.peer, fields.cause } end },
			peers = {
				others = function() return members end,
				callable = function(_, peer) return peer.callable end,
				understands = function(_, peer, feature) return peer.features[feature] == true end,
				is_known = function(_, peer) return peer.heard == true end,
			},
			bootstrap = {
				snapshot = function(_, peer, secret)
					assert(secret == SECRET)
					fetched[#fetched + 1] = peer.wallet
					return outcome(peer)
				end,
			},
		})
	end)

	it("are fetched of all when this node was away; nodes of this version push again", function()
		existing:fetch_all(SECRET)
		assert.same({ "a", "b" }, fetched)
	end)

	it("are fetched one a turn, each in its own", function()
		for _ = 1, 5 do existing:fetch_next(SECRET) end
		assert.same({ "a", "b", "a", "b", "a" }, fetched)
		members[2].callable, members[4] = false, member("never heard")
		members[4].heard = nil
		for _ = 1, 2 do existing:fetch_next(SECRET) end
		assert.same({ "a", "a" }, { fetched[6], fetched[7] })
		members = {}
		existing:fetch_next(SECRET)
		assert.equal(7, #fetched)
	end)

	it("are not fetched side by side", function()
		local running
		outcome = function()
			running = coroutine.running()
			coroutine.yield()
			return { complete = true }
		end
		for _ = 1, 3 do existing:fetch_next(SECRET) end
		assert.same({ "a" }, fetched)
		existing:fetch_all(SECRET)
		existing:fetch_all(SECRET)
		assert.same({ "a" }, fetched)
		for _ = 1, 3 do coroutine.resume(running) end
		assert.same({ "a", "a", "b" }, fetched)
		existing:fetch_next(SECRET)
		assert.same("b", fetched[4])
	end)

	it("are asked for again after one failed, or broke down, and the log says so", function()
		loop.on_error(function() end)
		finally(function() loop.on_error(function(text) io.stderr:write(text, "\n") end) end)
		outcome = function(peer)
			if peer.wallet == "a" then return nil, "no answer" end
			error("odd")
		end
		existing:fetch_all(SECRET)
		assert.same({ { "cannot compare with an existing node", "a", "no answer" },
			{ "cannot compare with an existing node", "b", "broke down" } }, lines)
		existing:fetch_all(SECRET)
		assert.equal(4, #fetched)
	end)

	it("come a minute after records that this node takes later, then at most every ten minutes", function()
		local after, planned = loop.after, {}
		finally(function() loop.after = after end)
		loop.after = function(ms, fn) planned[#planned + 1] = { ms, fn } end
		for _ = 1, 3 do existing:fetch_later(members[1], SECRET) end
		assert.same({ 1, 60000, 0 }, { #planned, planned[1][1], #fetched })
		now = 60000
		planned[1][2]()
		assert.same({ "a" }, fetched)
		existing:fetch_later(members[1], SECRET)
		assert.same({ 2, 600000 }, { #planned, planned[2][1] })
		now = 2000000
		planned[2][2]()
		existing:fetch_later(members[1], SECRET)
		assert.same({ 3, 600000, 2 }, { #planned, planned[3][1], #fetched })
	end)
end)
