--- What two members move to find and repair differences, by their real code in this process.

local replicas = require("spec.support.replicas")

local M = {}

local CALL_MS = 1500 -- that a call takes on the members' clocks: 40 a minute are allowed
local TURNS = 100
local SEAL_BYTES, KEY_BYTES = 28, 16 -- of a ciphertext beyond its value; of the keys that replicas makes

local function sums(sizes)
	local inner, sealed = 0, 0
	for _, size in ipairs(sizes) do inner, sealed = inner + size, sealed + replicas.sealed_bytes(size) end
	return inner, sealed
end

--- Two members hold `count` records of `bytes` bytes, but one of them lacks `differing`.
-- @return { records: bytes of the keys and ciphertexts that differ; inner: bytes of all messages; sealed: the same in
--   their envelopes; calls; turns: exchanges }
function M.repair(count, differing, bytes)
	local pair = replicas.new(2)
	local one, other = table.unpack(pair.members)
	pair.call_ms = CALL_MS
	pair:fill({ one, other }, 1, count - differing)
	pair:fill({ one }, count - differing + 1, differing, bytes)
	local turns = 0
	while other.store:stats().live_keys < count do
		turns = turns + 1
		if turns > TURNS then error("repair does not end", 0) end
		pair:tick(one)
	end
	local inner, sealed = sums(pair.sizes)
	return {
		records = differing * (KEY_BYTES + bytes + SEAL_BYTES), inner = inner, sealed = sealed, calls = pair.calls,
		turns = turns,
	}
end

--- An interval in which nothing differs.
-- @return { calls, inner: { question, answer }, sealed: the same in their envelopes }
function M.idle()
	local pair = replicas.new(2)
	pair:fill(pair.members, 1, 1000)
	pair:tick(pair.members[1])
	pair.calls, pair.sizes = 0, {}
	pair:tick(pair.members[1])
	local sealed = {}
	for i, size in ipairs(pair.sizes) do sealed[i] = replicas.sealed_bytes(size) end
	return { calls = pair.calls, inner = pair.sizes, sealed = sealed }
end

return M
