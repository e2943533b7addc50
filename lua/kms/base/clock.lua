--- Wall time that ignores jumps of the machine's clock (docs/protocol.md section 10). After a jump it
-- continues with the monotonic clock until the chain's time confirms the new clock, so that a
-- jump alone makes nothing expire.

local M = {}

local Clock = {}
Clock.__index = Clock

--- Unix time in milliseconds. A jump is a difference of more than max_skew_ms since the last check(), so
-- that small steps add up.
function Clock:now()
	local wall, trusted, max = self.wall_ms(), self.mono_ms() + self.offset, self.max_skew_ms
	local ahead = wall - trusted
	if ahead <= max and ahead >= -max then
		self.jumped = false
		return wall
	end
	self.jumped = true
	return trusted
end

--- Compares the clock with the chain's newest block. A jump that brought the clock nearer to the block's
-- time was a correction and is accepted.
-- @param head_ms  Unix time of the block in milliseconds
-- @return true | nil, message: the clock jumped and the chain does not confirm it
function Clock:check(head_ms)
	local trusted = self:now()
	local wall = self.wall_ms()
	if not self.jumped then
		self.offset = wall - self.mono_ms()
		return true
	end
	if math.abs(wall - head_ms) <= math.abs(trusted - head_ms) then
		self.offset, self.jumped = wall - self.mono_ms(), false
		return true
	end
	return nil, ("the clock jumped by %d ms, which the chain's time does not confirm"):format(wall - trusted)
end

--- @param deps  wall_ms, mono_ms: functions that return milliseconds; max_skew_ms: tolerated difference
-- @return clock; its field `jumped` says whether the machine's clock is ignored now
function M.new(deps)
	return setmetatable({
		wall_ms = deps.wall_ms, mono_ms = deps.mono_ms, max_skew_ms = deps.max_skew_ms,
		offset = deps.wall_ms() - deps.mono_ms(), jumped = false,
	}, Clock)
end

return M
