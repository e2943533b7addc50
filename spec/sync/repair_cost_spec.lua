-- What repair moves between two members: bytes of the inner messages, questions and answers together. `make
-- bench-cluster` prints the same for more cases.

local moved = require("spec.bench.cluster.moved")

local RECORDS, DIFFERING, VALUE_BYTES = 100000, 100, 100
local OVERHEAD_BYTES = 20 << 10

describe("repair", function()
	it("moves under 3 times the bytes of 100 records of 100 000 that differ, and 20 KiB, in at most 10 calls", function()
		local found = moved.repair(RECORDS, DIFFERING, VALUE_BYTES)
		assert.is_true(found.inner < 3 * found.records + OVERHEAD_BYTES, found.inner)
		assert.equal(1, found.turns)
		assert.is_true(found.calls <= 10, found.calls)
	end)

	it("of members that hold the same is one message of under 300 bytes a peer and interval, and its answer", function()
		local found = moved.idle()
		assert.equal(1, found.calls)
		assert.equal(2, #found.inner)
		for _, bytes in ipairs(found.inner) do assert.is_true(bytes < 300, bytes) end
	end)
end)
