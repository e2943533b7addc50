--- Admits calls of one kind: at a rate with a burst, at most `at_once` at a time. The others wait in
-- a bounded queue with lines by network and address, which have turns (kms.async.fair_lines): many calls of one network
-- delay those of another by one turn. A part of the rate can be kept for networks without a call in the last minute, so
-- that a new client's first call waits for no turn. Queues are independent: traffic of one never delays another.

local fair_lines = require("kms.async.fair_lines")
local finally = require("kms.async.finally")
local loop = require("kms.base.loop")
local lru = require("kms.base.lru")
local wakeup = require("kms.async.wakeup")

local M = {}

local EARLY_PART = 4 -- a network with more waiting than this part of the queue drops newcomers at random
local NOBODY = { "", "" } -- the path of calls without one
local QUIET_MS = 60000 -- without a call, after which a network's next one may take of what is kept
local MAX_RECENT = 10000 -- networks whose calls are remembered

local RateQueue = {}
RateQueue.__index = RateQueue

-- Adds what has come since the last time. What is kept for quiet networks gets its part until it is full.
local function fill(self)
	local now, kept = self.now(), self.kept
	local new = (now - self.filled_ms) * self.per_second / 1000
	self.kept = math.min(self.burst * self.kept_part, kept + new * self.kept_part)
	self.tokens = math.min(self.burst - self.kept, self.tokens + new - (self.kept - kept))
	self.filled_ms = now
end

-- Counts one more as running, where the rate and at_once allow it. Returns whether they do.
local function admit(self)
	fill(self)
	if self.tokens < 1 or self.running >= self.at_once - self.kept_at_once then return false end
	self.tokens, self.running = self.tokens - 1, self.running + 1
	return true
end

-- Likewise, by what is kept for quiet networks.
local function admit_quiet(self)
	fill(self)
	if self.kept < 1 or self.running >= self.at_once then return false end
	self.kept, self.running = self.kept - 1, self.running + 1
	return true
end

-- Begins to keep a part of what there is. Before the first call of a network that is known there is nobody to keep it
-- for: behind an enclave's ingress, for instance.
local function begin_keeping(self)
	fill(self)
	self.kept_part, self.kept_at_once = self.part_to_keep, math.floor(self.at_once * self.part_to_keep)
	self.kept = self.tokens * self.kept_part
	self.tokens = self.tokens - self.kept
end

-- Takes note of a network's call. Returns whether it has been quiet before.
local function was_quiet(self, network)
	if self.kept_part == 0 then begin_keeping(self) end
	local now = self.now()
	local is_quiet = not self.recent:get(network, now)
	self.recent:put(network, true, now + QUIET_MS)
	return is_quiet
end

-- ---- room ------------------------------------------------------------------------------------------

-- Random early drop: the more of a network wait, the more of its newcomers are refused. Otherwise a network that gets
-- more than it can pass on would be full for good, and those who wait would time out. Who is in a shorter line than
-- another of its network is not the cause.
local function drops_early(self, path)
	local of_network, in_line, longest = self.lines:count(path)
	local free = self.max_waiting // EARLY_PART
	local over = of_network - free
	if over <= 0 or in_line + 1 < longest then return false end
	return self.random() < over / (self.max_waiting - free)
end

-- Makes room for a newcomer where the queue is full: of the network with most waiting, the newest of the longest line
-- goes.
-- @return whether there is room
local function make_room(self, path)
	if self.lines.waiting < self.max_waiting then return true end
	local entry, of_network, in_line, network = self.lines:newest_of_longest()
	if not entry then return false end
	local own_network, own_line = self.lines:count(path)
	local shorter
	if network == path[1] then shorter = own_line + 1 < in_line else shorter = own_network + 1 < of_network end
	if not shorter then return false end
	entry.refused = true
	self.lines:remove(entry.path, entry)
	loop.defer(function() entry.waiter:wake() end)
	return true
end

-- ---- admission -------------------------------------------------------------------------------------

local function pump(self)
	while self.lines.waiting > 0 and admit(self) do
		local entry = self.lines:next()
		entry.admitted = true
		loop.defer(function() entry.waiter:wake() end)
	end
	if self.lines.waiting > 0 and not self.timer then
		self.timer = loop.after(math.ceil(1000 / self.per_second), function()
			self.timer = nil
			pump(self)
		end)
	end
end

local function wait(self, path)
	local entry = { path = path, waiter = wakeup.new() }
	self.lines:add(path, entry)
	pump(self)
	local woken = entry.waiter:wait(self.wait_ms)
	if entry.admitted then return true end
	if not woken and not entry.refused then self.lines:remove(path, entry) end
	return false
end

local function may_wait(self, path)
	return coroutine.isyieldable() and not drops_early(self, path) and make_room(self, path)
end

--- Waits until the caller is admitted. A caller that was must call leave(), also after an error: use
-- with() for a single call.
-- @param path  whom the call is for { network, address } (kms.http.client_address.path); nil: one for all such calls
-- @return true | false: too many wait, the caller waited for wait_ms, or it is not in a coroutine
function RateQueue:enter(path)
	local counts = self.counts
	counts.entered = counts.entered + 1
	if path and self.part_to_keep and was_quiet(self, path[1]) and admit_quiet(self) then return true end
	path = path or NOBODY
	if self.lines.waiting == 0 and admit(self) then return true end
	counts.waited = counts.waited + 1
	if may_wait(self, path) and wait(self, path) then return true end
	counts.refused = counts.refused + 1
	return false
end

--- Ends what enter() admitted.
function RateQueue:leave()
	self.running = self.running - 1
	pump(self)
end

--- How many wait.
function RateQueue:waiting()
	return self.lines.waiting
end

--- Seconds until a refused caller should try again.
function RateQueue:retry_after_s()
	return math.ceil((self.lines.waiting + 1) / self.per_second)
end

--- Calls fn(...) when admitted, and leaves when fn returns or throws.
-- @param path  as for enter
-- @return true, what fn returned | false: as enter(), fn was not called
function RateQueue:with(path, fn, ...)
	if not self:enter(path) then return false end
	return true, finally.call(self.leave, self, nil, fn, ...)
end

--- @param limits  per_second, burst: rate; at_once: most that run; max_waiting: longest queue; wait_ms: longest
-- wait; part_to_keep: of rate, burst and at_once, below 1, for networks that have been quiet; nil: nothing; now: a
-- monotonic clock in milliseconds, for specs
-- @return queue; its field `counts` holds { entered, waited, refused } since the start (who was refused
-- counts as having waited), `running` the number of now
function M.new(limits)
	local now = limits.now or loop.now
	return setmetatable({
		per_second = limits.per_second, burst = limits.burst, at_once = limits.at_once, max_waiting = limits.max_waiting,
		wait_ms = limits.wait_ms, now = now, tokens = limits.burst, filled_ms = now(), running = 0,
		part_to_keep = limits.part_to_keep, kept_part = 0, kept = 0, kept_at_once = 0, recent = lru.new(MAX_RECENT),
		random = limits.random or math.random, lines = fair_lines.new(), counts = { entered = 0, waited = 0, refused = 0 },
	}, RateQueue)
end

return M
