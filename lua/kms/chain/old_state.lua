--- Whether the state of a block is gone from the servers: callers then read without confirmations, so one answer is
-- not enough. Two servers say so, or the only one twice; or, where the other servers do not answer anything, the same
-- one several times over a while. Any answer of another server ends that.

local needs = require("kms.base.needs")

local M = {}

local OldState = {}
OldState.__index = OldState

local TIMES = 3 -- that a server says so which is the only one to answer

--- What one call to the servers has heard.
function M.heard()
	return { servers = {}, answers = 0 }
end

--- Records that a server lacks the state.
-- @param heard of the call
function OldState:lacks(server, heard)
	heard.answers = heard.answers + 1
	heard.servers[server] = true
	local alone = self.alone
	if not alone or alone.server ~= server then
		self.alone = { server = server, since_ms = self.mono_ms(), times = 1 }
	else
		alone.times = alone.times + 1
	end
end

--- Records that a server answered something else.
-- @param has_state whether it had the state of a block that is not the newest
function OldState:answered(server, has_state)
	if self.alone and (self.alone.server ~= server or has_state) then self.alone = nil end
end

--- Whether one server has said so for long enough while no other one answered.
function OldState:by_one_alone()
	local alone = self.alone
	return alone ~= nil and alone.times >= TIMES and self.mono_ms() - alone.since_ms >= self.wait_ms
end

--- Whether it is believed after a call.
-- @param servers how many there are
function OldState:is_gone(heard, servers)
	local first = next(heard.servers)
	if not first then return false end
	if next(heard.servers, first) then return true end
	return servers == 1 and heard.answers >= 2 or self:by_one_alone()
end

--- @param deps mono_ms; wait_ms: how long the other servers must be silent
function M.new(deps)
	return setmetatable(needs.take(deps, "mono_ms wait_ms"), OldState)
end

return M
