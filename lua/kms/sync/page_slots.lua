--- Slots for replies that take memory until they are sent: one for each peer, a few in all. A peer that reads slower
-- than SLOW_BYTES_PER_S loses its slot, and its reply, to the next one that asks.

local M = {}

local PageSlots = {}
PageSlots.__index = PageSlots

local Slot = {}
Slot.__index = Slot

local SLOW_BYTES_PER_S = 65536
local GRACE_MS = 1000

local function speed(slot, now)
	return slot.bytes * 1000 / (now - slot.since_ms)
end

-- The slot whose reader is the slowest of those that are too slow, or nil.
local function slowest(self, now)
	local found
	for _, slot in pairs(self.taken) do
		local begun = slot.since_ms and now - slot.since_ms >= GRACE_MS
		if begun and speed(slot, now) < SLOW_BYTES_PER_S and (not found or speed(slot, now) < speed(found, now)) then
			found = slot
		end
	end
	return found
end

--- Gives the slot back. Later calls do nothing.
function Slot:release()
	if self.slots.taken[self.key] ~= self then return end
	self.slots.taken[self.key], self.slots.count = nil, self.slots.count - 1
end

--- Makes a source for the connection (kms.http.stream) from a body. It holds the slot until it is closed; when the slot
-- goes to another peer, the body is closed at once, and the connection is reset.
-- @param body len() -> bytes; slice(from, count) -> text; close()
-- @return source
function Slot:hold(body)
	local is_open, source = true, {}
	local function close()
		if is_open then body:close() end
		is_open = false
		self:release()
	end
	self.lose = close
	function source.len() return body:len() end
	-- Counts what the peer has been sent, up to here.
	local function note(bytes)
		if not is_open then error("the slot went to another peer", 0) end
		self.since_ms = self.since_ms or self.slots.mono_ms()
		self.bytes = bytes
	end
	function source.slice(_, from, count)
		note(from - 1 + count)
		return body:slice(from, count)
	end
	function source.send(_, socket, from, count)
		note(from - 1)
		return body:send(socket, from, count)
	end
	source.close = close
	return source
end

--- Takes the slot of a peer.
-- @return slot | nil: the peer has one, or all are taken by peers that read fast enough
function PageSlots:take(key)
	if self.taken[key] then return nil end
	if self.count >= self.max then
		local slot = slowest(self, self.mono_ms())
		if not slot then return nil end
		slot.lose()
	end
	local slot = setmetatable({ slots = self, key = key, bytes = 0 }, Slot)
	self.taken[key], self.count = slot, self.count + 1
	return slot
end

--- @param max slots of all peers together
-- @return slots
function M.new(max, mono_ms)
	return setmetatable({ max = max, mono_ms = mono_ms, taken = {}, count = 0 }, PageSlots)
end

return M
