-- What the nodes of a cluster say to each other when nothing changes: their own code, on a virtual clock.

local replicas = require("spec.support.replicas")

local INTERVALS, WAYS = 20, 6 -- of spec/simulate/idle.lua; from each of three nodes to each other one
local MOST_BYTES = 300 -- of a message without its envelope
local SHORTER = 132 - 44 -- characters by which signatures of simulated nodes are shorter; each message has one

local build = os.getenv("KMS_BUILD") or "build"

-- @param kind "sessions", or "": version 1
local function idle(kind)
	local pipe = assert(io.popen(('KMS_BUILD=%s LD_PRELOAD="${LUA_PRELOAD:-} $(cd %s && pwd)/spec/seeded_random.so" '
		.. "lua5.4 spec/simulate/idle.lua %s 2>&1"):format(build, build, kind)))
	local output, ways = pipe:read("a"), {}
	assert.is_true(pipe:close(), output)
	for messages, longest, longest_reply in output:gmatch("%d>%d\t(%d+)\t(%d+)\t(%d+)\n") do
		ways[#ways + 1] = { messages = tonumber(messages), longest = math.max(tonumber(longest), tonumber(longest_reply)) }
	end
	return ways, output
end

describe("an idle cluster", function()
	it("sends one message under 300 bytes a peer and interval, and gets replies as short", function()
		local ways, output = idle("")
		assert.equal(WAYS, #ways, output)
		for _, way in ipairs(ways) do
			assert.equal(INTERVALS, way.messages, output)
			assert.is_true(way.longest + 2 * SHORTER < replicas.sealed_bytes(MOST_BYTES), output)
		end
	end)

	it("sends members with sessions a message every second interval, those with a lower wallet every fourth", function()
		local ways, output = idle("sessions")
		assert.equal(WAYS, #ways, output)
		local counts = {}
		for i, way in ipairs(ways) do counts[i] = way.messages end
		table.sort(counts)
		assert.same({ 5, 5, 5, 10, 10, 10 }, counts, output)
	end)
end)
