--- Wall time that no jump of the machine's clock moves (docs/protocol.md section 10): it runs on with
-- the monotonic clock until the chain's own time bears the jump out. Nothing expires by a jump.

local M = {}

local Clock = {}
Clock.__index = Clock

--- Unix time in milliseconds. Measured from where the chain's time was last looked at: small steps,
-- each below the limit, add up to a jump.
function Clock:now()
	local wall, trusted = self.wall_ms(), self.mono_ms() + self.offset
	self.jumped = math.abs(wall - trusted) > self.max_skew_ms
	return self.jumped and trusted or wall
end

--- Whether the clock can be believed, judged by the time of the chain's newest block: a jump that
-- brought this clock nearer to it was a correction.
-- @return true | nil, message
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
	return nil, ("the clock jumped by %d ms, which the chain's time does not bear out"):format(wall - trusted)
end

--- @param deps wall_ms, mono_ms (functions), max_skew_ms
function M.new(deps)
	return setmetatable({
		wall_ms = deps.wall_ms, mono_ms = deps.mono_ms, max_skew_ms = deps.max_skew_ms,
		offset = deps.wall_ms() - deps.mono_ms(), jumped = false,
	}, Clock)
end

return M
