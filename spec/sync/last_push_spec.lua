-- Pushes outside of the ticks: right after a change, and when the node stops.

local early_push = require("kms.sync.early_push")
local last_push = require("kms.sync.last_push")
local loop = require("kms.base.loop")
local native = require("spec.support.native")
local pushers = require("spec.support.pusher")

-- A pusher of one peer, whose push takes a turn of the loop and does what `outcome` says.
local function new_pusher(outcome)
	local pusher = { peer = { wallet = "0xa", number = 1 }, cursor = { since = 0 }, pushes = 0, sequence = 1 }
	function pusher:push_where(wants)
		if not wants(self.peer, self.cursor, native.mono_ms()) or self.cursor.running then return end
		self.pushes, self.cursor.running = self.pushes + 1, true
		loop.defer(function()
			self.cursor.running = false
			outcome(self.cursor, self)
		end)
	end
	function pusher:is_behind(cursor) return cursor.since < self.sequence end
	function pusher:is_due(_, cursor) return self:is_behind(cursor) end
	function pusher:unacknowledged()
		local left = self.sequence - self.cursor.since
		return left > 0 and { ["0xa"] = left } or {}
	end
	return pusher
end

local function acknowledge(cursor, pusher) cursor.since, cursor.failed = pusher.sequence, nil end

local function fail_with(code)
	return function(cursor) cursor.failed, cursor.failure = true, code end
end

describe("the last push", function()
	local lines

	-- Returns the milliseconds that it took.
	local function run(pusher, within_ms, is_over)
		lines = {}
		local function note(_, event, fields) lines[#lines + 1] = { event, fields.changes or fields.left } end
		local push = last_push.new({
			pusher = pusher, is_ready = function() return true end, log = { warn = note, info = note },
			mono_ms = native.mono_ms,
		})
		local began = native.mono_ms()
		loop.complete(function() push:run(began + within_ms, is_over or function() return true end) end)
		return native.mono_ms() - began
	end

	it("ends when every member has acknowledged", function()
		local pusher = new_pusher(acknowledge)
		assert.is_true(run(pusher, 60000) < 30000)
		assert.equal(1, pusher.pushes)
		assert.same({ { "changes pushed", 0 } }, lines)
	end)

	it("waits for running requests, and pushes what they change", function()
		local pusher, looks = new_pusher(acknowledge), 0
		run(pusher, 60000, function()
			looks = looks + 1
			if looks == 3 then pusher.sequence = 2 end
			return looks >= 3
		end)
		assert.equal(2, pusher.pushes)
		assert.equal(2, pusher.cursor.since)
	end)

	it("does not wait for a member that is not there, and says what is left", function()
		local pusher = new_pusher(fail_with("ERR_CONNECT"))
		assert.is_true(run(pusher, 60000) < 30000)
		assert.equal(2, pusher.pushes)
		assert.equal("stopping before a member has acknowledged every change", lines[1][1])
		assert.same({ "changes pushed", 1 }, lines[2])
	end)

	it("tries again until the deadline where a member replies and does not acknowledge", function()
		local pusher = new_pusher(fail_with("ERR_NOT_READY"))
		assert.is_true(run(pusher, 3000) >= 3000)
		assert.is_true(pusher.pushes >= 2 and pusher.pushes <= 13, pusher.pushes)
	end)

	it("does not give up a member whose push never began, since all slots were taken", function()
		local t = pushers.new()
		local pusher, call = t.pusher, t.pusher.exchange.call
		t.settings.parallel, pusher.mono_ms = 1, native.mono_ms
		function pusher.exchange.call(self, peer, ...)
			if peer.wallet == pushers.OURS then loop.sleep(1200) end
			return call(self, peer, ...)
		end
		t:change(0)
		t.answers[pushers.EXISTING] = { before = { nil, "refused", "ERR_CONNECT" } }
		t.order = function(list) return { list[2] } end
		t:tick() -- it was away
		t.order, t.answers[pushers.EXISTING] = nil, nil
		run(pusher, 20000)
		assert.same({ 1 }, t:pushed(pushers.OURS))
		assert.same({ 1 }, t:pushed(pushers.EXISTING))
		assert.same({ { "changes pushed", 0 } }, lines)
	end)
end)

describe("an early push", function()
	local function changed(pusher, known, ours)
		local push = early_push.new({
			pusher = pusher, is_ready = function() return true end,
			peers = { is_known = function() return known end, understands = function() return ours end },
		})
		loop.complete(function()
			push:changed()
			push:changed()
			loop.sleep(200)
		end)
		return pusher.pushes
	end

	it("goes to nodes of this version and to those not heard yet, not to existing nodes", function()
		assert.equal(1, changed(new_pusher(acknowledge), true, true))
		assert.equal(1, changed(new_pusher(acknowledge), false, false))
		assert.equal(0, changed(new_pusher(acknowledge), true, false))
	end)

	it("does not go to a peer whose last push failed: the next tick tries again", function()
		local pusher = new_pusher(acknowledge)
		pusher.cursor.failed = true
		assert.equal(0, changed(pusher, true, true))
	end)

	it("goes to a peer 60 times a minute at most", function()
		local pusher = new_pusher(function() end)
		local push = early_push.new({
			pusher = pusher, is_ready = function() return true end,
			peers = { is_known = function() return true end, understands = function() return true end },
		})
		push.pace = { take = function() return pusher.pushes == 0, 1 end }
		loop.complete(function()
			for _ = 1, 3 do
				push:changed()
				loop.sleep(100)
			end
		end)
		assert.equal(1, pusher.pushes)
		loop.close(push.timer)
	end)
end)
