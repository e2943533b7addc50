--- Sizes that follow from each other: what the longest key and value make of request lines and bodies. All in bytes.

local M = {}

-- Bytes that one takes in each form.
local PERCENT, ESCAPED, HEX = 3, 6, 2
local CLOCK = 256 * 70 -- of a record from a peer, in JSON
local OTHER = 1024 -- other members of a message, and of a record
local ENVELOPE = 1024 -- but for the ciphertext
local LONGEST_VALUE_SEAL = 128 -- beyond a value, of a record that existing nodes send

--- Longest key of a record from a peer (KMS_STORE_MAX_PEER_KEY). MAX_KEY_BYTES is only about what is written here.
M.PEER_KEY = 65536

--- Largest MAX_LIST_BYTES.
M.LONGEST_LIST = 64 << 20

--- Operations of a message (KMS_OPERATIONS_MAX), and bytes of a refusal in it (KMS_REFUSAL_BYTES).
M.OPERATIONS, M.REFUSAL = 256, 256

--- Request line of the server: a page of a listing names a key as `prefix` and one as `after`.
M.LINE = 2 * PERCENT * M.PEER_KEY + OTHER

local function sealed(plain)
	return HEX * plain + ENVELOPE
end

local function base64(len)
	return (len + 2) // 3 * 4
end

--- The longest reply: a listing, with the key at which it goes on.
M.LONGEST_REPLY = sealed(M.LONGEST_LIST + ESCAPED * M.PEER_KEY + OTHER)

--- Body of a request with the longest value and key that may be written, or that deletes the longest key of all, from a
-- client that escapes only what JSON requires.
-- @param values of the configuration
function M.request_body(values)
	local put = base64(values.MAX_KV_VALUE_SIZE_BYTES) + ESCAPED * values.MAX_KEY_BYTES + OTHER
	return sealed(math.max(put, ESCAPED * M.PEER_KEY + OTHER))
end

--- Body of a message between members with the largest record.
function M.sync_body(values)
	local ciphertext = HEX * (values.MAX_KV_VALUE_SIZE_BYTES + LONGEST_VALUE_SEAL)
	return sealed(ciphertext + ESCAPED * M.PEER_KEY + CLOCK + 2 * OTHER)
end

--- Answer to a message with one operation that reads the largest record, or with the most operations, all refused.
function M.session_answer(values)
	local refusals = M.OPERATIONS * (M.REFUSAL + 1)
	return base64(values.MAX_KV_VALUE_SIZE_BYTES) + ESCAPED * M.PEER_KEY + refusals + OTHER
end

--- How much of MAX_BODY_MEMORY_BYTES is reserved for small bodies, and for those of members.
function M.body_reserves(total)
	return total // 8, total // 4
end

-- The memory of all bodies in which one of `len` bytes fits beside the reserves of the others.
local function memory_for(len, is_member)
	return is_member and (len * 8 + 6) // 7 or (len * 8 + 4) // 5
end

--- Least values of the limits that must have room for the largest record: name -> bytes.
function M.needed(values)
	local request, sync = M.request_body(values), M.sync_body(values)
	return {
		MAX_REQUEST_BODY_BYTES = request, MAX_APP_BODY_MEMORY_BYTES = request, MAX_SYNC_PAYLOAD_BYTES = sync,
		MAX_SNAPSHOT_BYTES = sync,
		MAX_SESSION_ANSWER_BYTES = M.session_answer(values),
		MAX_BODY_MEMORY_BYTES = math.max(memory_for(request), memory_for(sync, true)),
	}
end

return M
