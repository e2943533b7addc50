--- A beat every two seconds for all that a node looks at that often or less: one wake-up of the loop instead of one for
-- each. A wake-up of an idle process costs 50 to 100 us, whatever it does then: its memory is in no cache any more.

local uv = require("luv")
local loop = require("kms.base.loop")

local M = {}

local Entry = {}
Entry.__index = Entry

--- Seconds between two beats.
M.SECONDS = 2

local entries, timer, beats = {}, nil, 0

local function beat()
	beats = beats + 1
	local now = {}
	for _, entry in ipairs(entries) do
		if beats % entry.every == 0 then now[#now + 1] = entry end
	end
	for _, entry in ipairs(now) do
		if not entry.closed then loop.try(entry.fn) end
	end
end

--- Ends it, for loop.close.
function Entry:close()
	self.closed = true
	for i, entry in ipairs(entries) do
		if entry == self then table.remove(entries, i) end
	end
	if #entries > 0 then return end
	loop.close(timer)
	timer = nil
end

--- Whether it has ended.
function Entry:is_closing()
	return self.closed
end

--- Calls fn every so many seconds.
-- @param seconds  rounded up to whole beats
-- @return handle for loop.close
function M.every(seconds, fn)
	local entry = setmetatable({ every = math.ceil(seconds / M.SECONDS), fn = fn, closed = false }, Entry)
	entries[#entries + 1] = entry
	if not timer then
		timer = assert(uv.new_timer())
		timer:start(M.SECONDS * 1000, M.SECONDS * 1000, loop.guard(beat))
	end
	return entry
end

return M
