-- When connections time out, and that nothing is looked at while none can (kms.http.connections).

local connections = require("kms.http.connections")
local native = require("spec.support.native")

local PHASES = { "head", "idle", "busy", "body" }

describe("the connections of a server", function()
	local now_ms, asked, mono_ms
	setup(function()
		mono_ms = native.mono_ms
		native.mono_ms = function() return now_ms end
	end)
	teardown(function() native.mono_ms = mono_ms end)

	local list
	before_each(function()
		now_ms, asked = 1000000, {}
		list = connections.new(PHASES, { head = 10000, idle = 75000, body = 30000 }, { body = 250 }, function(ms)
			asked[#asked + 1] = ms
		end)
	end)

	-- Sweeps after some time. Returns the phases of those that were late, each of which is closed.
	local function sweep_after(ms)
		local late = {}
		now_ms = now_ms + ms
		list:sweep(now_ms, function(conn, phase)
			late[#late + 1] = phase
			list:leave(conn)
		end)
		return late
	end

	it("ask for a sweep when the first of them can time out, and for none without them", function()
		local conn = {}
		list:enter(conn, "busy")
		assert.same({}, asked)
		list:enter(conn, "head")
		assert.same({ 10000 }, asked)
		assert.same({ "head" }, sweep_after(10000))
		assert.same({ 10000 }, asked)
	end)

	it("ask for nothing while requests come and go on kept connections", function()
		local conn = {}
		list:enter(conn, "head")
		for _ = 1, 100 do
			list:enter(conn, "busy")
			list:enter(conn, "idle")
			now_ms = now_ms + 50
		end
		assert.same({ 10000 }, asked)
		assert.same({}, sweep_after(5000))
		assert.same({ 10000, 75000 - 5050 }, asked)
		assert.same({}, sweep_after(75000 - 5051))
		assert.same({ "idle" }, sweep_after(250))
		assert.equal(0, list.count)
	end)

	it("ask for an earlier sweep when one begins to wait for less", function()
		list:enter({}, "idle")
		list:enter({}, "head")
		list:enter({}, "idle")
		assert.same({ 75000, 10000 }, asked)
	end)

	it("ask again and again while a body arrives", function()
		local conn = {}
		list:enter(conn, "body")
		for _ = 1, 3 do assert.same({}, sweep_after(250)) end
		list:enter(conn, "busy")
		assert.same({}, sweep_after(250))
		assert.same({ 250, 250, 250, 250 }, asked)
	end)

	it("are not swept more often than four times a second, however many time out one after the other", function()
		for i = 1, 100 do
			list:enter({ number = i }, "head")
			now_ms = now_ms + 10
		end
		local late, sweeps = 0, 0
		asked = { 9000 }
		while list.count > 0 do
			sweeps = sweeps + 1
			late = late + #sweep_after(asked[#asked])
		end
		assert.equal(100, late)
		assert.is_true(sweeps <= 6)
	end)
end)
