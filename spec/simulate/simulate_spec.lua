local build = os.getenv("KMS_BUILD") or "build"

-- Runs a range of seeds. Returns the output, whether all promises were kept.
local function simulate(first, last)
	local command = ("KMS_BUILD=%s spec/simulate/run %d %d 2>&1"):format(build, first, last)
	local pipe = assert(io.popen(command))
	local output = pipe:read("a")
	return output, pipe:close() == true
end

describe("the simulation", function()
	it("does the same each time for a seed, alone and behind others", function()
		local output, kept = simulate(7, 7)
		assert.is_true(kept, output)
		local digest = output:match("\nseed 7: digest %x+\n")
		assert.truthy(digest, output)
		assert.equal(output, (simulate(7, 7)))
		local among_others = simulate(4, 7)
		assert.truthy(among_others:find(digest, 1, true), among_others)
	end)
end)
