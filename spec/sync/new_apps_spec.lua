local fake_chain = require("spec.support.fake_chain")
local loop = require("kms.base.loop")
local new_apps = require("kms.sync.new_apps")
local native = require("spec.support.native")

local PEER, OTHER = "0x" .. ("a"):rep(40), "0x" .. ("b"):rep(40)

describe("new applications of members", function()
	local chain, apps, now, warnings

	-- A message with these applications, none of which has a namespace.
	local function message_of(ids)
		local message = { admitted = {} }
		function message.new_apps(_, _, from, max)
			local page, indexes = {}, {}
			for i = from, math.min(#ids, from + max - 1) do page[#page + 1], indexes[#indexes + 1] = ids[i], i end
			return page, indexes, from + max <= #ids and from + max or nil
		end
		function message:admit(index) self.admitted[#self.admitted + 1] = ids[index] end
		return message
	end

	local function numbered(from, count)
		local ids = {}
		for i = 1, count do ids[i] = tostring(from + i - 1) end
		return ids
	end

	-- Returns the ids that a message's check admits, what the check returns.
	local function admitted(ids, fn)
		local message = message_of(ids)
		local result = loop.complete(function() return table.pack(fn(message)) end)
		table.sort(message.admitted)
		return message.admitted, table.unpack(result)
	end

	local function check(ids, wallet)
		return admitted(ids, function(message) return apps:of_delta(message, wallet or PEER) end)
	end

	local function check_snapshot(ids, is_existing)
		local peer = { wallet = PEER, is_existing = is_existing }
		return admitted(ids, function(message) return apps:of_snapshot(message, peer) end)
	end

	before_each(function()
		chain, now, warnings = fake_chain.new(), nil, {}
		chain.apps = { ["700"] = { id = "700" }, ["701"] = { id = "701", status = 2 } }
		apps = new_apps.new({
			chain = chain, store = {}, peers = { understands = function(_, peer) return not peer.is_existing end },
			mono_ms = function() return now or native.mono_ms() end,
			config = { REGISTRY_CACHE_TTL_SECONDS = 60, MAX_NAMESPACES = 1000 },
			log = { limited = function(_, _, _, _, text) warnings[#warnings + 1] = text end },
		})
	end)

	it("are those that the chain knows, whatever their status", function()
		assert.same({ "700", "701" }, (check({ "1", "700", "701", "0", "99999999999999999999" })))
		assert.equal(1, chain.calls.prefetch_apps)
	end)

	it("are looked up once for a while, known and unknown ones", function()
		now = 1000
		check({ "700", "1" })
		assert.same({ "700" }, (check({ "700", "1" }, OTHER)))
		assert.equal(1, chain.calls.prefetch_apps)
		now = now + 10001
		chain.apps["1"] = { id = "1" }
		assert.same({ "1", "700" }, (check({ "700", "1" })))
		assert.equal(2, chain.calls.prefetch_apps)
		now = now + 60001
		check({ "700" })
		assert.equal(3, chain.calls.prefetch_apps)
	end)

	it("are none while the chain cannot be read, and nothing is remembered", function()
		chain.down = true
		assert.same({}, (check({ "700", "1" })))
		local none, ok, message, code = check_snapshot({ "700", "1" })
		assert.same({ {}, nil, "ERR_CHAIN" }, { none, ok, code })
		assert.is_truthy(message:find("^2 of its applications"))
		assert.is_true(#warnings > 0)
		chain.down = false
		assert.same({ "700" }, (check({ "700", "1" })))
	end)

	it("that a member invents cost it its rate, and others have their turns", function()
		for round = 1, 10 do check(numbered(100000 + 1000 * round, 250)) end -- 50 look-ups, beyond the burst
		assert.same({ "700" }, (check({ "700" }, OTHER))) -- it is admitted: its turn comes in the time that it waits
		assert.is_true(chain.calls.prefetch_apps <= 60)
	end)

	it("of a large delta are checked for a few seconds only", function()
		now = 0
		local ask = chain.prefetch_apps
		function chain.prefetch_apps()
			now = now + 120
			return ask()
		end
		check(numbered(100000, 10000)) -- 200 look-ups
		assert.equal(42, chain.calls.prefetch_apps) -- 5 s of the clock that they move
	end)

	it("of existing nodes' snapshots may be unknown for a few of them", function()
		assert.same({ {}, true }, { check_snapshot(numbered(1, 60)) })
		assert.equal(10, #check_snapshot(numbered(1, 60), true)) -- a hundredth of the namespaces
		assert.same({}, (check_snapshot(numbered(101, 60), true)))
	end)

	-- A page may name thousands: a liar's pages would have used up the rate of the RPC servers.
	it("of a member's pages are looked up no more once it has named too many that the chain does not know", function()
		now = 0
		local peer = { wallet = PEER }
		local function page(ids) return admitted(ids, function(message) return apps:of_snapshot(message, peer) end) end
		local some, ok = page({ "700", table.unpack(numbered(1000, 19)) })
		assert.same({ { "700" }, true }, { some, ok })
		local _, failed, message, code = page(numbered(2000, 1000))
		assert.same({ nil, "ERR_RECORD" }, { failed, code })
		assert.truthy(message:find("the chain does not know", 1, true))
		local asked = chain.calls.prefetch_apps
		assert.is_true(asked <= 8, asked)
		page(numbered(3000, 1000))
		assert.equal(asked, chain.calls.prefetch_apps)
		now = 60000
		assert.same({ { "700" }, true }, { page({ "700" }) })
	end)

	it("are checked before a policy is asked, which is asked in any case", function()
		local asked = {}
		local function policy(message) asked[#asked + 1] = table.concat(message.admitted, " ") end
		local peer = { wallet = PEER }
		admitted({ "1", "700" }, function(message) return apps:before_changes(policy)(message, peer) end)
		assert.same({ { "701" }, true }, { admitted({ "701", "2" }, function(message)
			return apps:before_snapshot(policy)(message, peer)
		end) })
		chain.down = true
		local _, ok = admitted({ "3" }, function(message) return apps:before_snapshot(policy)(message, peer) end)
		assert.is_nil(ok)
		assert.same({ "700", "701", "" }, asked)
	end)

	it("of a snapshot are all checked, up to the number of namespaces", function()
		local ids = numbered(1, 1000)
		for _, id in ipairs(ids) do chain.apps[id] = { id = id } end
		local all, ok = check_snapshot(ids)
		assert.same({ 1000, true }, { #all, ok })
		assert.equal(20, chain.calls.prefetch_apps)
		assert.equal(1000, #check_snapshot(numbered(1, 3000)))
		assert.equal(20, chain.calls.prefetch_apps) -- all were known
	end)
end)
