--- One coroutine at a time for each key.

local uv = require("luv")
local loop = require("kms.base.loop")
local turns = require("kms.async.key_lock")

local function settle()
	for _ = 1, 20 do uv.run("nowait") end
end

describe("turns", function()
	local list, log, ends

	-- A coroutine that takes a turn and holds it until ends[name]() is called.
	local function enter(key, name)
		loop.spawn(function()
			if not list:take(key) then
				log[#log + 1] = name .. " refused"
				return
			end
			log[#log + 1] = name
			local waiter = loop.waiter()
			ends[name] = function() waiter:wake() end
			waiter:wait()
			list:give(key)
		end)
	end

	local function finish(name)
		ends[name]()
		settle()
	end

	before_each(function() list, log, ends = turns.new(2), {}, {} end)

	it("come one after the other, in the order of arrival", function()
		for _, name in ipairs({ "a", "b", "c" }) do enter("k", name) end
		assert.same({ "a" }, log)
		finish("a")
		assert.same({ "a", "b" }, log)
		finish("b")
		finish("c")
		assert.same({ "a", "b", "c" }, log)
		assert.same({}, list.queues)
		enter("k", "d")
		assert.equal("d", log[4])
		finish("d")
	end)

	it("are refused where too many wait, and given again when one has gone", function()
		for _, name in ipairs({ "a", "b", "c", "d" }) do enter("k", name) end
		assert.same({ "a", "d refused" }, log)
		finish("a")
		enter("k", "e")
		enter("k", "f")
		assert.same({ "a", "d refused", "b", "f refused" }, log)
		for _, name in ipairs({ "b", "c", "e" }) do finish(name) end
		assert.same({}, list.queues)
	end)

	it("of different keys do not wait for each other", function()
		enter("k", "a")
		enter("other", "b")
		assert.same({ "a", "b" }, log)
		finish("a")
		finish("b")
		assert.same({}, list.queues)
	end)
end)
