--- Admits calls of one kind: at a rate with a burst, at most `at_once` at a time. The others wait in
-- a bounded queue with a line for each key (a client's address), and lines have turns: many calls of one key
-- delay those of another by one turn. Queues are independent: traffic of one never delays another.

local finally = require("kms.async.finally")
local loop = require("kms.base.loop")
local wakeup = require("kms.async.wakeup")

local M = {}

local EARLY_PART = 4 -- a line longer than this part of the queue drops newcomers at random
local EMPTY = {} -- an empty line, and the key of calls without one

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

-- ---- lines: those who wait, by key, and the lines in the order of their turns --------------------------------------

-- Adds an entry to its key's line.
local function append(self, entry)
	local line = self.by_key[entry.key]
	if not line then
		line = {}
		self.by_key[entry.key] = line
		self.lines[#self.lines + 1] = line
	end
	line[#line + 1] = entry
	self.waiting = self.waiting + 1
end

local function take_out(list, item)
	for i, other in ipairs(list) do
		if other == item then return table.remove(list, i) end
	end
end

-- Takes an entry out of its line; an empty line has no turns.
local function remove(self, entry)
	local line = self.by_key[entry.key]
	take_out(line, entry)
	self.waiting = self.waiting - 1
	if #line > 0 then return end
	take_out(self.lines, line)
	self.by_key[entry.key] = nil
end

-- Takes the first entry of the line whose turn it is; that line has its next turn after all others.
local function take_next(self)
	local line = table.remove(self.lines, 1)
	local entry = table.remove(line, 1)
	self.waiting = self.waiting - 1
	if #line > 0 then
		self.lines[#self.lines + 1] = line
	else
		self.by_key[entry.key] = nil
	end
	return entry
end

local function longest(self)
	local found = self.lines[1]
	for _, line in ipairs(self.lines) do
		if #line > #found then found = line end
	end
	return found
end

-- Random early drop: the longer a key's line is, the more of its newcomers are refused. Otherwise a line that gets more
-- than it can pass on would be full for good, and those who wait would time out in it.
local function drops_early(self, key)
	local line = self.by_key[key]
	local free = self.max_waiting // EARLY_PART
	local over = (line and #line or 0) - free
	return over > 0 and self.random() < over / (self.max_waiting - free)
end

-- Makes room for a newcomer of a key where the queue is full: the newest of the longest line goes.
-- @return whether there is room
local function make_room(self, key)
	if self.waiting < self.max_waiting then return true end
	local line = longest(self)
	if not line or #line <= #(self.by_key[key] or EMPTY) + 1 then return false end
	local entry = line[#line]
	entry.refused = true
	remove(self, entry)
	loop.defer(function() entry.waiter:wake() end)
	return true
end

-- ---- admission -------------------------------------------------------------------------------------

local function pump(self)
	while self.waiting > 0 and admit(self) do
		local entry = take_next(self)
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

local function wait(self, key)
	local entry = { key = key, waiter = wakeup.new() }
	append(self, entry)
	pump(self)
	local woken = entry.waiter:wait(self.wait_ms)
	if entry.admitted then return true end
	if not woken and not entry.refused then remove(self, entry) end
	return false
end

local function may_wait(self, key)
	return coroutine.isyieldable() and not drops_early(self, key) and make_room(self, key)
end

--- Waits until the caller is admitted. A caller that was must call leave(), also after an error: use
-- with() for a single call.
-- @param key  whom the call is for: keys have turns; nil: one key for all such calls
-- @return true | false: too many wait, the caller waited for wait_ms, or it is not in a coroutine
function RateQueue:enter(key)
	key = key or EMPTY
	local counts = self.counts
	counts.entered = counts.entered + 1
	if self.waiting == 0 and admit(self) then return true end
	counts.waited = counts.waited + 1
	if may_wait(self, key) and wait(self, key) then return true end
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
-- @param key  as for enter
-- @return true, what fn returned | false: as enter(), fn was not called
function RateQueue:with(key, fn, ...)
	if not self:enter(key) then return false end
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
		random = limits.random or math.random, by_key = {}, lines = {}, counts = { entered = 0, waited = 0, refused = 0 },
	}, RateQueue)
end

return M
