--- A lane for work of one kind: so much a second with a burst, so much at the same time, and a
-- bounded queue for the rest. What one lane admits never depends on another's traffic.

local loop = require("kms.base.loop")

local M = {}

local Lane = {}
Lane.__index = Lane

-- Whether one more may start now; it is then counted.
local function admit(self)
	local now = self.now()
	self.tokens = math.min(self.burst, self.tokens + (now - self.filled_ms) * self.per_second / 1000)
	self.filled_ms = now
	if self.tokens < 1 or self.running >= self.at_once then return false end
	self.tokens, self.running = self.tokens - 1, self.running + 1
	return true
end

-- Drops those at the front who have given up.
local function front(self)
	while self.first <= self.last and self.queue[self.first].gone do
		self.queue[self.first] = nil
		self.first = self.first + 1
	end
	return self.queue[self.first]
end

local function pump(self)
	while front(self) and admit(self) do
		local entry = self.queue[self.first]
		self.queue[self.first] = nil
		self.first, self.waiting = self.first + 1, self.waiting - 1
		entry.admitted = true
		loop.defer(function() entry.waiter:wake() end)
	end
	if self.waiting > 0 and not self.timer then
		self.timer = loop.after(math.ceil(1000 / self.per_second), function()
			self.timer = nil
			pump(self)
		end)
	end
end

local function wait(self)
	local entry = { waiter = loop.waiter() }
	self.last, self.waiting = self.last + 1, self.waiting + 1
	self.queue[self.last] = entry
	pump(self)
	if entry.waiter:wait(self.wait_ms) or entry.admitted then return true end
	entry.gone, self.waiting = true, self.waiting - 1
	return false
end

--- Waits for a place; who got one calls leave when done.
-- @return true | false, seconds after which another try is worth it
function Lane:enter()
	local counts = self.counts
	counts.entered = counts.entered + 1
	if self.waiting == 0 and admit(self) then return true end
	counts.waited = counts.waited + 1
	if self.waiting < self.max_waiting and coroutine.isyieldable() and wait(self) then return true end
	counts.refused = counts.refused + 1
	return false, math.ceil((self.waiting + 1) / self.per_second)
end

--- Gives a place back.
function Lane:leave()
	self.running = self.running - 1
	pump(self)
end

--- @param limits per_second, burst, at_once, max_waiting, wait_ms (the longest wait); now: a
-- monotonic clock in milliseconds, for specs
function M.new(limits)
	local now = limits.now or loop.now
	return setmetatable({
		per_second = limits.per_second, burst = limits.burst, at_once = limits.at_once, max_waiting = limits.max_waiting,
		wait_ms = limits.wait_ms, now = now, tokens = limits.burst, filled_ms = now(), running = 0, waiting = 0,
		queue = {}, first = 1, last = 0,
		counts = { entered = 0, waited = 0, refused = 0 }, -- since the start; who was refused had waited
	}, Lane)
end

return M
