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

-- Bytes of a message of a session with so many bytes of JSON (docs/protocol.md section 15.2).
local function session_bytes(inner_bytes)
	return 24 + (12 + inner_bytes + 255) // 256 * 256 + 16
end

--- The pages with all that a member holds, as a newcomer gets them: `count` values of `bytes` bytes.
-- @param in_sessions whether they travel in a session, else in version 1
-- @return bytes on the way for each byte of ciphertext, requests and HTTP headers not counted
function M.copy(count, bytes, in_sessions)
	local one = replicas.new(1)
	local store, since, moved = one.members[1].store, 0, 0
	one:fill(one.members, 1, count, bytes)
	while since < store:sequence() do
		local page, records = store:page({ since = since, max_bytes = 2 << 20, base64 = in_sessions })
		local sealed = in_sessions and session_bytes or replicas.sealed_bytes
		moved, since = moved + sealed(page:len()), since + records
		page:close()
	end
	return moved / (count * (bytes + SEAL_BYTES))
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
