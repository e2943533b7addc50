-- Records that a peer does not take yet, from the sender's store to the peer's: the peer's clock is behind, or it has
-- no room.

local cjson = require("cjson")
local message = require("kms.sync.message")
local native = require("spec.support.native")
local push = require("kms.sync.push")
local wait = require("spec.support.wait")

local SENDER, PEER, WRITER = "0x" .. ("a"):rep(40), "0x" .. ("b"):rep(40), "0x" .. ("c"):rep(40)
local NOW = 1700000000000
local SKEW_MS = 15000
local RECORDS = 20
local MASTER = assert(native.secret_random(32))

local function quiet() end

describe("records that a peer takes later", function()
	local ahead_ms, elapsed_ms, sender, receiver, pusher, refused

	local function wall_ms() return NOW + elapsed_ms end

	local function apply(store, text, now_ms)
		local parsed = assert(native.sync_parse(native.text_body(text)))
		parsed:admit(1)
		return assert(parsed:apply(store, MASTER, 1, now_ms))
	end

	-- Tombstones of RECORDS keys, written by a node whose clock is `ahead_ms` ahead.
	local function fill()
		local list, at_ms = {}, NOW + ahead_ms
		for i = 1, RECORDS do
			list[i] = {
				key = "key" .. i, value = cjson.null, tombstone = true, version = { [WRITER] = at_ms }, updated_at_ms = at_ms,
			}
		end
		assert.equal(RECORDS, apply(sender, cjson.encode({ data = { ["49"] = list } }), at_ms).merged)
	end

	-- Merges what is pushed into the peer's store, and answers as a node of this version does.
	local function call(_, _, build)
		local writer = message.writer({ address = PEER }, ("0"):rep(32), wall_ms)
		local body, text, code = build({ pop = "0xsignature" })
		if not body then return nil, text, code end
		local parsed = assert(native.sync_parse(body))
		parsed:admit(1)
		local counts = assert(parsed:apply(receiver, MASTER, 1, wall_ms()))
		refused = refused + counts.later
		return assert(native.sync_parse(native.text_body(writer:delta_reply({ pop = "0xsignature" }, counts))))
	end

	local function start()
		local peer = { wallet = PEER, number = 2, retry_ms = 0 }
		pusher = push.new({
			exchange = { call = call }, writer = message.writer({ address = SENDER }, ("0"):rep(32), wall_ms), store = sender,
			peers = {
				others = function() return { peer } end, understands = function() return false end,
				is_known = function() return true end, callable = function() return true end,
				state = function() return "ok" end,
			},
			log = { limited = quiet, warn = quiet, debug = quiet }, mono_ms = function() return elapsed_ms end,
			secret = function() return MASTER end, is_ready = function() return true end, max_body_bytes = 52428800,
			skew_ms = SKEW_MS, order = function(list) return list end,
			settings = function() return { max_records = 3, max_bytes = 4 << 20, parallel = 4, interval = 10 } end,
		})
	end

	local function tick()
		pusher:tick()
		wait.until_true("the pushes to end", function() return pusher.visits.running == 0 end)
	end

	local function wait_s(seconds)
		for _ = 1, seconds do
			elapsed_ms = elapsed_ms + 1000
			tick()
		end
	end

	before_each(function()
		ahead_ms, elapsed_ms, refused = 0, 0, 0
		sender, receiver = native.store({ self = SENDER }), native.store({ self = PEER })
	end)

	it("arrive once its clock has reached them: 40 s ahead, 20 of 20", function()
		ahead_ms = 40000
		fill()
		start()
		tick()
		assert.equal(0, receiver:stats("49").tombstones)
		assert.equal(RECORDS, pusher:status().peers[PEER].later)
		assert.equal(0, pusher:status().peers[PEER].acknowledged)
		wait_s(60)
		assert.equal(RECORDS, receiver:stats("49").tombstones)
		assert.equal(0, pusher:status().peers[PEER].later)
		assert.equal(sender:sequence(), pusher:status().peers[PEER].acknowledged)
	end)

	it("arrive once it has room: none is taken for acknowledged", function()
		fill()
		receiver = native.store({ self = PEER, max_namespaces = 1, max_total_bytes = 7000, tombstone_retention_ms = 100000 })
		start()
		tick()
		local held = receiver:stats("49").tombstones
		assert.is_true(held > 0 and held < RECORDS)
		assert.equal(RECORDS - held, pusher:status().peers[PEER].later)
		assert.is_true(pusher:status().peers[PEER].acknowledged < sender:sequence())
		-- What it holds leaves after a while; the others come into its place.
		local last = refused
		for _ = 1, 10 do
			wait_s(100)
			receiver:expire(NOW + elapsed_ms, 1000)
			if pusher:status().peers[PEER].later == 0 then break end
			assert.is_true(refused >= last)
			last = refused
		end
		assert.equal(0, pusher:status().peers[PEER].later)
		assert.equal(sender:sequence(), pusher:status().peers[PEER].acknowledged)
	end)

	it("delay no change that comes after them", function()
		ahead_ms = 40000
		fill()
		start()
		tick()
		ahead_ms = 0
		apply(sender, cjson.encode({ data = { ["50"] = { {
			key = "new", value = cjson.null, tombstone = true, version = { [WRITER] = NOW }, updated_at_ms = NOW,
		} } } }), NOW)
		tick()
		assert.equal(1, receiver:stats("50").tombstones)
		assert.equal(0, receiver:stats("49").tombstones)
	end)
end)
