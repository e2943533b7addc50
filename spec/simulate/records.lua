--- What a store holds, read as a peer would read it: its snapshot, sealed to an observer whose key is known here.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local substitutes = require("spec.simulate.substitutes")

local M = {}

local OBSERVER = crypto.made_up("an observer")
local keys = {} -- of the channels, by the node's point

--- The text of a message of a node, before it is sealed.
function M.text_of(tee, body)
	local envelope = cjson.decode(substitutes.text_of(assert(tee:seal(body, OBSERVER.point))))
	keys[tee.point] = keys[tee.point] or crypto.channel_key(OBSERVER.scalar, tee.point)
	return assert(crypto.open(keys[tee.point], envelope))
end

local function read(parts, body)
	return cjson.decode(M.text_of(parts.tee, body)).data
end

local function by_name(data)
	local records = {}
	for app_id, list in pairs(data) do
		for _, record in ipairs(list) do
			if record.value == cjson.null then record.value, record.stub = nil, not record.tombstone end
			records[app_id .. "/" .. record.key] = record
		end
	end
	return records
end

--- All records of a node by "application/key": { version, updated_at_ms, ttl_ms, value (ciphertext in hex, or
-- nil), tombstone, stub }.
function M.all(parts)
	return by_name(read(parts, assert(parts.store:snapshot({ prefix = '{"data":', suffix = "}", stubs = true }))))
end

--- The record that was written last on a node.
function M.newest(parts)
	local body = parts.store:delta({
		since = parts.store:sequence() - 1, max_records = 1, prefix = '{"data":', suffix = "}",
	})
	if not body then return nil end
	return select(2, next(by_name(read(parts, body))))
end

return M
