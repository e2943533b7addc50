--- The event loop: callbacks, timers and coroutines. Their errors are caught, reported and counted. An
-- error inside a luv callback would end the process, so every callback that Lua registers goes
-- through M.guard.

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

--- Reports caught errors to fn(text with traceback) instead of stderr.
function M.on_error(fn)
	report = fn
end

--- The number of errors caught since the start.
function M.errors()
	return errors
end

--- Wraps a callback: an error in it is reported and counted.
-- @param self  first argument of fn, before those that luv passes; nil: none
-- @return function for luv
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

--- Calls fn(...) and reports an error in it.
-- @return true, what fn returned | false
function M.try(fn, ...)
	return outcome(xpcall(fn, caught, ...))
end

--- Resumes a coroutine that M.spawn or M.launch made; an error in it is reported.
function M.resume(co, ...)
	local ok, text = coroutine.resume(co, ...)
	if not ok then failed(tostring(text)) end
end

-- Coroutines that have ended their work are kept for the next one: creating one costs as much as a
-- small request. A parked coroutine accepts only a resume that carries WORK.
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

--- Like M.spawn, for an fn that catches its own errors.
-- @return coroutine; it is used again once fn has returned
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

--- Runs fn(...) in a coroutine until it yields or returns. An error in it is reported.
-- @return coroutine; it is used again once fn has returned
function M.spawn(fn, ...)
	return M.launch(M.try, fn, ...)
end

--- Calls fn(...), which may yield: in the running coroutine or, outside of one (before M.run), in a new
-- one, while this function runs the loop.
-- @return what fn returned; throws what it threw
function M.complete(fn, ...)
	if coroutine.isyieldable() then return fn(...) end
	local results, running
	M.launch(function(...)
		results = table.pack(pcall(fn, ...))
		-- Without this, uv.run() would wait for another event before it returns.
		if running then uv.stop() end
	end, ...)
	running = true
	while not results do
		if not uv.run() and not results then error("there is nothing left to wait for", 2) end
	end
	if not results[1] then error(results[2], 0) end
	return table.unpack(results, 2, results.n)
end

--- Monotonic time in milliseconds, as of the start of the loop's iteration.
function M.now()
	return uv.now()
end

--- Closes a handle; nil and closed handles are fine.
function M.close(handle)
	if handle and not handle:is_closing() then handle:close() end
end

--- Calls fn once after `ms` milliseconds; 0 or less: when the loop looks at its timers next.
-- @return timer, which M.close cancels
function M.after(ms, fn)
	local timer = assert(uv.new_timer())
	-- luv would take a negative time for one that never comes.
	timer:start(math.max(0, ms), 0, M.guard(function()
		M.close(timer)
		fn()
	end))
	return timer
end

--- Calls fn every `ms` milliseconds.
-- @return timer, which M.close cancels
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

local deferred, idle = {}, nil

local function run_deferred()
	local list = deferred
	deferred = {}
	idle:stop()
	for _, fn in ipairs(list) do M.try(fn) end
end

--- Calls fn in the loop's next iteration, so that other events are handled before it.
function M.defer(fn)
	idle = idle or assert(uv.new_idle())
	if #deferred == 0 then idle:start(M.guard(run_deferred)) end
	deferred[#deferred + 1] = fn
end

--- Suspends the running coroutine until the loop's next iteration. (A sleep of 0 may end in this one.)
function M.pause()
	local co, is_main = coroutine.running()
	if is_main then error("pause needs a coroutine", 2) end
	M.defer(function() M.resume(co) end)
	coroutine.yield()
end

--- Calls fn after signals of this name ("sigterm"), at most once in an iteration of the loop: the signals that
-- come before the call count as one. luv would call it for each of them before it serves anything else, without
-- an end when they come faster than fn returns.
-- @param fn  nil: ignore the signal
-- @return handle for M.close; it does not keep the loop running
function M.on_signal(name, fn)
	local signal, is_due = assert(uv.new_signal()), false
	local function call()
		is_due = false
		if not signal:is_closing() then fn() end
	end
	signal:start(name, M.guard(function()
		if not fn or is_due then return end
		is_due = true
		M.defer(call)
	end))
	signal:unref()
	return signal
end

--- Runs the loop until M.stop() or until no handle is active.
function M.run()
	uv.run()
	-- luv crashes at exit while a handle is still closing: let those finish.
	uv.run("nowait")
end

--- Makes M.run return after this iteration.
function M.stop()
	uv.stop()
end

return M
