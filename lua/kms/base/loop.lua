--- The event loop: callbacks, timers and coroutines whose errors end neither the node nor go
-- unseen. An error inside a luv callback would end the process, so each callback that Lua
-- registers goes through M.guard.

local uv = require("luv")

local M = {}

local errors = 0
local report = function(text) io.stderr:write(text, "\n") end

local function caught(failure)
	return debug.traceback(tostring(failure), 2)
end

local function failed(text)
	errors = errors + 1
	pcall(report, text)
end

--- Who is told of caught errors: fn(text with traceback).
function M.on_error(fn)
	report = fn
end

--- How many errors were caught since the start.
function M.errors()
	return errors
end

--- Wraps a callback: an error in it is reported and counted, and goes no further.
-- @param self  passed to fn before what luv passes, unless nil
function M.guard(fn, self)
	if self ~= nil then
		return function(...)
			local ok, text = xpcall(fn, caught, self, ...)
			if not ok then failed(text) end
		end
	end
	return function(...)
		local ok, text = xpcall(fn, caught, ...)
		if not ok then failed(text) end
	end
end

local function outcome(ok, ...)
	if not ok then failed((...)) end
	return ok, ...
end

--- Calls fn(...); returns true and its results, or false after the error was reported.
function M.try(fn, ...)
	return outcome(xpcall(fn, caught, ...))
end

--- Resumes a coroutine that M.spawn made.
function M.resume(co, ...)
	local ok, text = coroutine.resume(co, ...)
	if not ok then failed(tostring(text)) end
end

-- Coroutines whose work is done, kept for the next one: making one costs as much as a small
-- request. Only a resume that carries WORK gives them work.
local parked, count, MAX_PARKED, WORK = {}, 0, 64, {}

local function next_work(token, ...)
	if token == WORK then return ... end
	failed(debug.traceback("a coroutine was resumed after its work was done"))
	return next_work(coroutine.yield())
end

local function work(fn, ...)
	fn(...)
	if count == MAX_PARKED then return end
	count = count + 1
	parked[count] = coroutine.running()
	return work(next_work(coroutine.yield()))
end

--- Like M.spawn, for an fn that catches its errors itself.
-- @return the coroutine, which others may use once fn has returned
function M.launch(fn, ...)
	local co = parked[count]
	if not co then
		co = coroutine.create(work)
		M.resume(co, fn, ...)
		return co
	end
	parked[count] = nil
	count = count - 1
	M.resume(co, WORK, fn, ...)
	return co
end

--- Runs fn(...) in a coroutine of its own, up to its first wait.
-- @return the coroutine
function M.spawn(fn, ...)
	return M.launch(M.try, fn, ...)
end

--- Calls fn(...), which may wait: in the running coroutine or, where there is none, which is
-- before M.run, in one of its own while the loop runs. Throws what fn throws.
-- @return what fn returns
function M.complete(fn, ...)
	if coroutine.isyieldable() then return fn(...) end
	local results, running
	M.launch(function(...)
		results = table.pack(pcall(fn, ...))
		-- A loop that has run this in a timer would wait for something else before it returns.
		if running then uv.stop() end
	end, ...)
	running = true
	while not results do
		if not uv.run() and not results then error("there is nothing left to wait for", 2) end
	end
	if not results[1] then error(results[2], 0) end
	return table.unpack(results, 2, results.n)
end

--- Loop time in milliseconds: monotonic, read once an iteration.
function M.now()
	return uv.now()
end

--- Closes a handle, unless that was done.
function M.close(handle)
	if handle and not handle:is_closing() then handle:close() end
end

--- Calls fn once after `ms` milliseconds.
-- @return a timer for M.close
function M.after(ms, fn)
	local timer = assert(uv.new_timer())
	timer:start(ms, 0, M.guard(function()
		M.close(timer)
		fn()
	end))
	return timer
end

--- Calls fn each `ms` milliseconds until its timer is closed.
-- @return a timer for M.close
function M.every(ms, fn)
	local timer = assert(uv.new_timer())
	timer:start(ms, ms, M.guard(fn))
	return timer
end

--- Suspends the running coroutine for `ms` milliseconds.
function M.sleep(ms)
	local co, is_main = coroutine.running()
	if is_main then error("sleep needs a coroutine", 2) end
	M.after(ms, function() M.resume(co) end)
	coroutine.yield()
end

local Waiter = {}
Waiter.__index = Waiter

--- Something that one coroutine waits for and others bring about.
function M.waiter()
	return setmetatable({}, Waiter)
end

--- Suspends the running coroutine until wake() or the deadline.
-- @param timeout_ms  nil: without one
-- @return true when woken, false after the deadline; at once true when wake() came before
function Waiter:wait(timeout_ms)
	local co, is_main = coroutine.running()
	if is_main or self.co then error("wait needs a coroutine, one at a time", 2) end
	if self.woken then
		self.woken = nil
		return true
	end
	self.co = co
	self.timer = timeout_ms and M.after(timeout_ms, function() self:finish(false) end)
	return coroutine.yield()
end

function Waiter:finish(woken)
	local co = self.co
	self.co = nil
	M.close(self.timer)
	self.timer = nil
	M.resume(co, woken)
end

--- Ends the wait of whoever waits, or the next one.
function Waiter:wake()
	if self.co then return self:finish(true) end
	self.woken = true
end

local deferred, idle = {}, nil

local function run_deferred()
	local list = deferred
	deferred = {}
	idle:stop()
	for _, fn in ipairs(list) do M.try(fn) end
end

--- Calls fn in the next iteration of the loop, after others have had their turn.
function M.defer(fn)
	idle = idle or assert(uv.new_idle())
	if #deferred == 0 then idle:start(M.guard(run_deferred)) end
	deferred[#deferred + 1] = fn
end

--- Suspends the running coroutine until others have had their turn. (A sleep of 0 may end before.)
function M.pause()
	local co, is_main = coroutine.running()
	if is_main then error("pause needs a coroutine", 2) end
	M.defer(function() M.resume(co) end)
	coroutine.yield()
end

--- Calls fn for each signal of this name ("sigterm"); fn nil: the signal is ignored.
-- @return a handle for M.close, which does not keep the loop running
function M.on_signal(name, fn)
	local signal = assert(uv.new_signal())
	signal:start(name, M.guard(fn or function() end))
	signal:unref()
	return signal
end

--- Runs the loop until M.stop, or until nothing is left to wait for.
function M.run()
	uv.run()
	-- luv crashes at exit where a handle's close is still under way.
	uv.run("nowait")
end

--- Ends M.run after this iteration.
function M.stop()
	uv.stop()
end

return M
