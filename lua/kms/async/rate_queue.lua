--- Admits calls of one kind: at a rate with a burst, at most `at_once` at a time. The others wait in
-- a bounded FIFO queue. Queues are independent: traffic of one never delays another.

local finally = require("kms.async.finally")
local loop = require("kms.base.loop")
local wakeup = require("kms.async.wakeup")

local M = {}

local RateQueue = {}
RateQueue.__index = RateQueue

-- Counts one more as running, where the rate and at_once allow it. Returns whether they do.
local function admit(self)
	local now = self.now()
	self.tokens = math.min(self.burst, self.tokens + (now - self.filled_ms) * self.per_second / 1000)
	self.filled_ms = now
	if self.tokens < 1 or self.running >= self.at_once then return false end
	self.tokens, self.running = self.tokens - 1, self.running + 1
	return true
end

-- The first entry of the queue that still waits, or nil.
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
	local entry = { waiter = wakeup.new() }
	self.last, self.waiting = self.last + 1, self.waiting + 1
	self.queue[self.last] = entry
	pump(self)
	if entry.waiter:wait(self.wait_ms) or entry.admitted then return true end
	entry.gone, self.waiting = true, self.waiting - 1
	return false
end

--- Waits until the caller is admitted. A caller that was must call leave(), also after an error: use
-- with() for a single call.
-- @return true | false: too many wait, the caller waited for wait_ms, or it is not in a coroutine
function RateQueue:enter()
	local counts = self.counts
	counts.entered = counts.entered + 1
	if self.waiting == 0 and admit(self) then return true end
	counts.waited = counts.waited + 1
	if self.waiting < self.max_waiting and coroutine.isyieldable() and wait(self) then return true end
	counts.refused = counts.refused + 1
	return false
end

--- Ends what enter() admitted.
function RateQueue:leave()
	self.running = self.running - 1
	pump(self)
end

--- Seconds until a refused caller should try again.
function RateQueue:retry_after_s()
	return math.ceil((self.waiting + 1) / self.per_second)
end

--- Calls fn(...) when admitted, and leaves when fn returns or throws.
-- @return true, what fn returned | false: as enter(), fn was not called
function RateQueue:with(fn, ...)
	if not self:enter() then return false end
	return true, finally.call(self.leave, self, nil, fn, ...)
end

--- @param limits  per_second, burst: rate; at_once: most that run; max_waiting: longest queue; wait_ms: longest
-- wait; now: a monotonic clock in milliseconds, for specs
-- @return queue; its field `counts` holds { entered, waited, refused } since the start (who was refused
-- counts as having waited), `running` and `waiting` the numbers of now
function M.new(limits)
	local now = limits.now or loop.now
	return setmetatable({
		per_second = limits.per_second, burst = limits.burst, at_once = limits.at_once, max_waiting = limits.max_waiting,
		wait_ms = limits.wait_ms, now = now, tokens = limits.burst, filled_ms = now(), running = 0, waiting = 0,
		queue = {}, first = 1, last = 0, counts = { entered = 0, waited = 0, refused = 0 },
	}, RateQueue)
end

return M
