--- What waits for its turn in memory: messages of sessions, which are open before it is theirs.

require("spec.support.native")

local loop = require("kms.base.loop")
local serving = require("kms.sync.serving")
local uv = require("luv")
local wakeup = require("kms.async.wakeup")

local WALLET, OTHER = "0x" .. ("1"):rep(40), "0x" .. ("2"):rep(40)

local function settle()
	for _ = 1, 20 do uv.run("nowait") end
end

describe("requests of a peer that wait for their turn", function()
	local served, done, ends

	before_each(function()
		done, ends = {}, {}
		served = serving.new({
			callers = {}, peers = {}, pusher = {}, replies = {}, readiness = {}, secrets = {}, require_pop = false,
			max_bytes = 100,
		})
	end)

	-- A request of so many bytes, which is served until ends[name]() and throws then if it is to. done[name] says whether
	-- it had its turn.
	local function begin(name, bytes, wallet, throws)
		local exchange = served:exchange({ peer = { wallet = wallet or WALLET }, bytes = bytes })
		loop.spawn(function()
			local ok, had_turn = pcall(served.in_turn, served, exchange, function()
				local waiter = wakeup.new()
				ends[name] = function() waiter:wake() end
				waiter:wait()
				if throws then error("no luck", 0) end
			end)
			done[name] = ok and had_turn or not ok and "thrown"
		end)
	end

	local function finish(name)
		ends[name]()
		settle()
	end

	it("have the room of one request together", function()
		begin("first", 60)
		begin("one past", 41)
		begin("at the limit", 40)
		begin("beside them", 1)
		begin("another peer's", 100, OTHER)
		assert.same({ ["one past"] = false, ["beside them"] = false }, done)
		finish("another peer's")
		finish("first")
		begin("later", 60)
		begin("too late", 1)
		assert.is_false(done["too late"])
		finish("at the limit")
		finish("later")
		assert.same({ true, true, true }, { done.first, done["at the limit"], done.later })
		assert.same({}, served.held)
	end)

	it("take any size where nothing else waits, and give the room back, also where serving throws", function()
		for _, throws in ipairs({ false, true }) do
			begin("first", 1000, nil, throws)
			begin("second", 1)
			assert.is_false(done.second)
			finish("first")
			assert.equal(throws and "thrown" or true, done.first)
			assert.same({}, served.held)
		end
	end)

	it("need none in version 1, whose bodies are read when it is their turn", function()
		begin("first", 100)
		begin("second", nil)
		assert.same({}, done)
		finish("first")
		finish("second")
		assert.same({ first = true, second = true }, done)
	end)
end)
