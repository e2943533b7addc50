local copies = require("kms.sync.copies")
local loop = require("kms.base.loop")
local wait = require("spec.support.wait")

-- A peer with these fields; `held` is the last change that it has acknowledged.
local function peer(fields)
	local made = { held = 0, ours = true, reachable = true, is_callable = true, stuck = false }
	for name, value in pairs(fields or {}) do made[name] = value end
	return made
end

describe("copies of a write", function()
	local others, sequence, pushes

	local function new(wanted, strict, wait_ms)
		return copies.new({
			store = { sequence = function() return sequence end },
			peers = {
				others = function() return others end,
				understands = function(_, each, feature) return feature == "store" and each.ours end,
				callable = function(_, each) return each.is_callable end,
			},
			pusher = {
				holds = function(_, each, since, number)
					return each.held >= number and not (each.refused and each.refused > since and each.refused <= number)
				end,
				is_stuck = function(_, each) return each.stuck end,
			},
			mono_ms = function() return 0 end, push = function() pushes = pushes + 1 end, wanted = wanted,
			wait_ms = wait_ms or 60000, strict = strict or false,
		})
	end

	-- Makes a write, of a number of changes in the same moment; its outcome appears in the table.
	local function begin(of, changes)
		local outcome = {}
		local write = of:begin()
		sequence = sequence + (changes or 1)
		loop.spawn(function()
			outcome.copies, outcome.message, outcome.code = of:wait(write)
			outcome.done = true
		end)
		return outcome
	end

	before_each(function()
		others, sequence, pushes = { peer(), peer() }, 6, 0
	end)

	it("are awaited until as many members as wanted hold the write", function()
		local of = new(2)
		local write = begin(of)
		assert.equal(1, pushes)
		assert.is_nil(write.done)
		others[2].held = 6
		of:advanced()
		assert.is_nil(write.done)
		others[2].held = 7
		of:advanced()
		assert.equal(2, write.copies)
	end)

	it("are awaited from more members where more are wanted", function()
		local of = new(3)
		local write = begin(of)
		others[1].held = 9
		of:advanced()
		assert.is_nil(write.done)
		others[2].held = 7
		of:advanced()
		assert.equal(3, write.copies)
	end)

	it("let the earlier writes go on, and not the later ones", function()
		local of = new(2)
		local first = begin(of)
		local second = begin(of)
		others[1].held = 7
		of:advanced()
		assert.same({ true, 2 }, { first.done, first.copies })
		assert.is_nil(second.done)
		others[1].held = 8
		of:advanced()
		assert.equal(2, second.copies)
	end)

	it("are not awaited from members that do not answer, and not from existing nodes", function()
		for _, fields in ipairs({ { reachable = false }, { is_callable = false }, { stuck = true }, { ours = false } }) do
			others = { peer(fields), peer(fields) }
			assert.equal(1, begin(new(2)).copies)
		end
		others = {}
		assert.equal(1, begin(new(2)).copies)
	end)

	it("are awaited from the one member that answers where more are wanted", function()
		others[1].reachable = false
		local of = new(8)
		local write = begin(of)
		assert.is_nil(write.done)
		others[2].held = 7
		of:advanced()
		assert.equal(2, write.copies)
	end)

	-- The newest change was another's, and the peer had refused the page before it.
	it("are not counted where the peer refused one of the changes among which the write is", function()
		others[1].refused, others[1].held, others[2].held = 7, 8, 8
		local write = begin(new(3), 2)
		assert.is_nil(write.done)
	end)

	it("are counted when the time is over", function()
		local write = begin(new(2, false, 1))
		wait.until_true("the end of the wait", function() return write.done end)
		assert.equal(1, write.copies)
	end)

	it("that are too few fail a write where that is asked for", function()
		others = {}
		local write = begin(new(2, true))
		assert.is_nil(write.copies)
		assert.equal("ERR_NOT_REPLICATED", write.code)
		assert.equal("the value is stored here, but on 1 of 2 nodes within 60000 ms", write.message)
	end)
end)
