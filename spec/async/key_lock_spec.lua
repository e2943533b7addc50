local key_lock = require("kms.async.key_lock")
local loop = require("kms.base.loop")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local function settle()
	for _ = 1, 20 do uv.run("nowait") end
end

describe("key_lock", function()
	local locks, log, ends

	-- A coroutine that locks a key until ends[name]() is called.
	local function enter(key, name)
		loop.spawn(function()
			if not locks:lock(key) then
				log[#log + 1] = name .. " refused"
				return
			end
			log[#log + 1] = name
			local waiter = wakeup.new()
			ends[name] = function() waiter:wake() end
			waiter:wait()
			locks:unlock(key)
		end)
	end

	local function finish(name)
		ends[name]()
		settle()
	end

	before_each(function() locks, log, ends = key_lock.new(2), {}, {} end)

	it("locks a key for one caller after the other, in FIFO order", function()
		for _, name in ipairs({ "a", "b", "c" }) do enter("k", name) end
		assert.same({ "a" }, log)
		finish("a")
		assert.same({ "a", "b" }, log)
		finish("b")
		finish("c")
		assert.same({ "a", "b", "c" }, log)
		assert.same({}, locks.queues)
		enter("k", "d")
		assert.equal("d", log[4])
		finish("d")
	end)

	it("refuses where too many wait, and accepts again when one has gone", function()
		for _, name in ipairs({ "a", "b", "c", "d" }) do enter("k", name) end
		assert.same({ "a", "d refused" }, log)
		finish("a")
		enter("k", "e")
		enter("k", "f")
		assert.same({ "a", "d refused", "b", "f refused" }, log)
		for _, name in ipairs({ "b", "c", "e" }) do finish(name) end
		assert.same({}, locks.queues)
	end)

	it("locks keys independently of each other", function()
		enter("k", "a")
		enter("other", "b")
		assert.same({ "a", "b" }, log)
		finish("a")
		finish("b")
		assert.same({}, locks.queues)
	end)

	it("calls a function with the key locked, and unlocks also when it throws", function()
		assert.same({ true, 1, nil, 3 }, { locks:with("k", function(...) return ... end, 1, nil, 3) })
		local ok, failure = pcall(locks.with, locks, "k", function() error("broken", 0) end)
		assert.same({ false, "broken" }, { ok, failure })
		assert.same({}, locks.queues)
		local none = key_lock.new(0)
		none:lock("k")
		assert.same({ false }, { none:with("k", function() error("called", 0) end) })
	end)
end)
