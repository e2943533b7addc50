-- kms.snapshot.anchors: what a node puts on chain about its newest snapshot, on a chain in the spec's hands.

local snapshots = require("spec.support.snapshots")
local wait = require("spec.support.wait")

local anchors = require("kms.snapshot.anchors")

local OWN, OTHER = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40)
local DAY_S, NOW_S = 86400, 1700000000
local HASH = ("ab"):rep(32)

describe("kms.snapshot.anchors", function()
	local t, chain, anchored, clock

	before_each(function()
		clock = { wall = NOW_S * 1000, mono = 1000 }
		t = { lines = {}, saved = nil, member = true, secret = {} }
		chain = { anchors = {}, sent = {}, flying = false }
		function chain.snapshot()
			if chain.failing then return nil, chain.failing, "ERR_CHAIN" end
			local view = {}
			local function read(anchor)
				if chain.old then return nil, "KMSRegistry has no anchors of snapshots", "ERR_NOT_FOUND" end
				return anchor or false
			end
			function view.snapshot_anchor(_, wallet) return read(chain.anchors[wallet]) end
			function view.newest_snapshot_anchor() return read(chain.newest) end
			return view
		end
		function chain.anchor_snapshot(_, manifest, time_s)
			if chain.refusing then return nil, chain.refusing, "ERR_CHAIN" end
			chain.sent[#chain.sent + 1] = { manifest = manifest, time = time_s, member = OWN }
			chain.flying = true
			return true
		end
		function chain.is_anchoring() return chain.flying end
		anchored = anchors.new({
			chain = chain, tee = { address = OWN }, saved = function() return t.saved end,
			secrets = setmetatable({}, { __index = function() return t.secret end }),
			goes_on = function() return t.member end, log = snapshots.log(t.lines), every_s = DAY_S,
			wall_ms = function() return clock.wall end, mono_ms = function() return clock.mono end,
		})
	end)

	local function pass(ms)
		clock.wall, clock.mono = clock.wall + ms, clock.mono + ms
	end

	-- A tick, to its end.
	local function tick()
		anchored:tick()
		wait.until_true("the tick", function() return not anchored.running end)
	end

	local function mine()
		chain.anchors[OWN] = chain.sent[#chain.sent]
		chain.flying = false
	end

	local function save() t.saved = { time = clock.wall, sha256 = HASH } end

	local function anchor()
		save()
		tick()
		mine()
		pass(5000)
		tick()
	end

	it("sends hash and time of the newest manifest, and knows when it is on chain", function()
		tick()
		assert.same({ 0, "ok" }, { #chain.sent, anchored:status().state })
		save()
		pass(1000)
		tick()
		assert.same({ { manifest = "0x" .. HASH, time = NOW_S, member = OWN } }, chain.sent)
		assert.same({ "sending", 0 }, { anchored:status().state, anchored.counts.ok })
		pass(4999)
		mine()
		tick()
		assert.equal("sending", anchored:status().state)
		pass(1)
		tick()
		local status = anchored:status()
		assert.same({ "ok", NOW_S * 1000, 6, 0 }, { status.state, status.anchored_at_ms, status.age_s, status.failures })
		assert.same({ 1, 0 }, { anchored.counts.ok, anchored.counts.failed })
		assert.equal("sealed snapshot anchored on chain", t.lines[1][1])
	end)

	it("sends another one when the last is old enough, and there is a newer manifest", function()
		anchor()
		pass(DAY_S * 1000 - 5000 - 1)
		save()
		tick()
		assert.equal(1, #chain.sent)
		pass(1)
		tick()
		assert.equal(2, #chain.sent)
		mine()
		pass(DAY_S * 1000)
		tick() -- it is on chain
		tick()
		assert.same({ 2, 2 }, { #chain.sent, anchored.counts.ok })
	end)

	it("goes by what the chain shows of an earlier run", function()
		chain.anchors[OWN] = { manifest = "0x" .. HASH, time = NOW_S - DAY_S + 1, member = OWN }
		save()
		tick()
		assert.equal(0, #chain.sent)
		pass(1000)
		save()
		tick()
		assert.equal(1, #chain.sent)
	end)

	it("reads the chain no more often than it must", function()
		anchor()
		local reads, real = 0, chain.snapshot
		function chain.snapshot()
			reads = reads + 1
			return real()
		end
		for _ = 1, 100 do
			pass(1000)
			tick()
		end
		assert.equal(0, reads)
	end)

	it("tries again after a failure, later each time, with what is newest then", function()
		save()
		chain.refusing = "anchorSnapshot would revert: NotAuthorizedToAnchor"
		local waits = { 60000, 120000, 240000, 480000, 960000, 1920000, 3600000, 3600000 }
		for i, ms in ipairs(waits) do
			tick()
			assert.equal(i, anchored.counts.failed)
			pass(ms - 1)
			tick()
			assert.equal(i, anchored.counts.failed)
			pass(1)
		end
		local status = anchored:status()
		assert.same({ "failing", chain.refusing, 8 }, { status.state, status.last_failure, status.failures })
		chain.refusing = nil
		save()
		tick()
		assert.equal(clock.wall // 1000, chain.sent[1].time)
		mine()
		pass(5000)
		tick()
		assert.same({ "ok", nil, 1 }, { anchored:status().state, anchored:status().last_failure, anchored.counts.ok })
		pass(DAY_S * 1000)
		save()
		chain.refusing = "no money"
		tick()
		pass(60000) -- the first wait again
		chain.refusing = nil
		tick()
		assert.equal(2, #chain.sent)
	end)

	it("counts a transaction that ends without an anchor as a failure", function()
		save()
		tick()
		pass(5000)
		tick()
		assert.equal("sending", anchored:status().state)
		chain.flying = false
		pass(5000)
		tick()
		assert.same({ "failing", "anchorSnapshot did not get on chain" },
			{ anchored:status().state, anchored:status().last_failure })
		pass(60000)
		tick()
		assert.equal(2, #chain.sent)
	end)

	it("does nothing while the chain cannot be read, and is well again without anything to send", function()
		save()
		chain.failing = "no server"
		tick()
		assert.same({ "failing", "no server", 0 }, { anchored:status().state, anchored:status().last_failure, #chain.sent })
		t.saved, chain.failing = nil, nil
		pass(60000)
		tick()
		assert.equal("ok", anchored:status().state)
	end)

	it("does nothing as no member, or without a secret", function()
		save()
		t.member = false
		tick()
		t.member, t.secret = true, nil
		tick()
		assert.equal(0, #chain.sent)
		t.secret = {}
		tick()
		assert.equal(1, #chain.sent)
	end)

	it("reads its anchor again under another secret, where it counts no more", function()
		anchor()
		t.secret, chain.anchors = {}, {}
		save()
		pass(1000)
		tick()
		assert.same({ 2, nil }, { #chain.sent, anchored:age_s() })
	end)

	it("goes on after an error in its own code", function()
		save()
		local real = chain.snapshot
		function chain.snapshot() error("on purpose") end
		local loop = require("kms.base.loop")
		local seen = 0
		loop.on_error(function() seen = seen + 1 end)
		finally(function() loop.on_error(nil) end)
		tick()
		assert.same({ 1, "it broke down" }, { seen, anchored:status().last_failure })
		chain.snapshot = real
		pass(60000)
		tick()
		assert.equal(1, #chain.sent)
	end)

	it("asks whether the registry has anchors until it knows", function()
		chain.failing = "no server"
		assert.is_true(anchored:probe())
		chain.failing, chain.old = nil, true
		local ok, message = anchored:probe()
		assert.is_nil(ok)
		assert.truthy(message:find("SNAPSHOT_ANCHOR=true, but KMSRegistry has no anchors of snapshots", 1, true), message)
		chain.old = false
		assert.is_true(anchored:probe())
		chain.old = true -- it was asked and is not asked again
		assert.is_true(anchored:probe())
	end)

	it("gives the newest of all", function()
		assert.is_false(anchored:newest())
		chain.newest = { manifest = "0x" .. HASH, time = NOW_S, member = OTHER }
		assert.equal(OTHER, anchored:newest().member)
		chain.failing = "no server"
		assert.same({ nil, "no server", "ERR_CHAIN" }, { anchored:newest() })
	end)
end)
