-- Visits to peers: one of a peer at a time, and not too many at once.

local loop = require("kms.base.loop")
local visits = require("kms.sync.visits")
local wait = require("spec.support.wait")

describe("visits", function()
	local function new(parallel, may_visit)
		return visits.new({ parallel = function() return parallel end, may_visit = may_visit or function() return true end })
	end

	it("are made so many at a time, the others in their order", function()
		local own, begun, peak, under_way = new(2), {}, 0, 0
		for i = 1, 5 do
			own:plan(i, {}, function(peer)
				begun[#begun + 1], under_way = peer, under_way + 1
				peak = math.max(peak, under_way)
				loop.sleep(1)
				under_way = under_way - 1
			end)
		end
		own:start()
		wait.until_true("the visits", function() return own:is_idle() end)
		assert.same({ { 1, 2, 3, 4, 5 }, 2 }, { begun, peak })
	end)

	it("are not planned twice for one peer", function()
		local own, cursor, count = new(2), {}, 0
		for _ = 1, 2 do own:plan("peer", cursor, function() count = count + 1 end) end
		own:start()
		assert.same({ 1, false }, { count, cursor.running })
	end)

	-- The peer would never have been visited again, nor any other once `parallel` of them had failed.
	for name, fault in pairs({
		["that fails"] = { run = function() error("planted") end },
		["that cannot be judged"] = { may_visit = function() error("planted") end },
	}) do
		it("go on after one " .. name, function()
			local fails = true
			local own = new(1, function() return not (fails and fault.may_visit) or fault.may_visit() end)
			local cursor, made = {}, false
			own:plan("peer", cursor, fault.run or function() end)
			local errors = loop.errors()
			loop.on_error(function() end)
			own:start()
			loop.on_error(function(text) io.stderr:write(text, "\n") end)
			assert.equal(errors + 1, loop.errors())
			assert.same({ true, false }, { own:is_idle(), cursor.running })
			fails = false
			own:plan("peer", cursor, function() made = true end)
			own:start()
			assert.is_true(made)
		end)
	end
end)
