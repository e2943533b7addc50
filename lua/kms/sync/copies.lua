--- Lets the reply to a write wait until enough members hold it (WRITE_COPIES), so that a crash of this node loses
-- nothing that a client was told is stored (docs/protocol.md section 8).

local needs = require("kms.base.needs")
local wakeup = require("kms.async.wakeup")

local M = {}

local Copies = {}
Copies.__index = Copies

-- Whether a write is worth waiting for a member: one of this version that answers.
local function answers(self, peer, now)
	return self.peers:understands(peer, "store") and self.peers:callable(peer, now) and peer.reachable ~= false
		and not self.pusher:is_stuck(peer, now)
end

-- How many other members hold a write, and how many answer.
local function count(self, write)
	local now, held, answering = self.mono_ms(), 0, 0
	for _, peer in ipairs(self.peers:others()) do
		if self.pusher:holds(peer, write.since, write.sequence) then held = held + 1 end
		if answers(self, peer, now) then answering = answering + 1 end
	end
	return held, answering
end

-- Whether so many copies are enough. With fewer members that answer, that many are.
local function is_enough(self, held, answering)
	return held >= math.min(self.wanted - 1, answering)
end

--- A member has acknowledged more: the writes that it completes go on.
function Copies:advanced()
	local done = {}
	for _, write in pairs(self.waiting) do
		if is_enough(self, count(self, write)) then done[#done + 1] = write end
	end
	for _, write in ipairs(done) do write.waiter:wake() end
end

local function wait(self, write)
	local number = self.number + 1
	write.waiter, self.number, self.waiting[number] = wakeup.new(), number, write
	write.waiter:wait(self.wait_ms)
	self.waiting[number] = nil
end

--- To be called before a write is made.
-- @return what `wait` has to know of it
function Copies:begin()
	return { since = self.store:sequence(), sequence = false, waiter = nil }
end

--- Pushes a write that was just made, and waits until WRITE_COPIES members hold it, or for WRITE_WAIT_MS. Members that
-- do not answer are not waited for: they get it as any change, at the pace of kms.sync.early_push. Yields.
-- @param write of `begin`. Its change is one of those since then: a member that refused one of them may lack it.
-- @return how many members hold the write, this one included | nil, message, code: WRITE_STRICT, and too few do
function Copies:wait(write)
	write.sequence = self.store:sequence()
	local held, answering = count(self, write)
	-- A node alone pushes to nobody: to begin that with each write would be a tenth of a small one.
	if answering > 0 then self.push() end
	if not is_enough(self, held, answering) then
		wait(self, write)
		held = count(self, write)
	end
	local copies = 1 + held
	if copies >= self.wanted or not self.strict then return copies end
	return nil, ("the value is stored here, but on %d of %d nodes within %d ms"):format(copies, self.wanted, self.wait_ms),
		"ERR_NOT_REPLICATED"
end

--- @param deps store, peers (kms.peers), pusher (kms.sync.push), mono_ms; push (function: starts pushes at once);
-- wanted (WRITE_COPIES, at least 2), wait_ms (WRITE_WAIT_MS), strict (WRITE_STRICT)
function M.new(deps)
	local self = needs.take(deps, "store peers pusher mono_ms push wanted wait_ms strict")
	-- By number: { since, sequence (its change is above `since`, up to this one), waiter }.
	self.number, self.waiting = 0, {}
	return setmetatable(self, Copies)
end

return M
