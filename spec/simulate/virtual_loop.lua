--- Stands in for kms.base.loop in a simulation: the same functions, but time is a number that moves to the next
-- timer. To be installed before anything requires kms.base.loop. Each timer belongs to the node that was running
-- when it was set, so that a node that crashes or is paused takes its timers with it.

local M = {}

local now_ms = 0
local heap, count, number = {}, 0, 0
local errors = {}

--- The node whose code runs now; nil outside of nodes. A node has `state`: "up", "paused" or "down"; and `life`, the
-- number of its start: what an earlier one has left does not run.
M.running = nil

local function is_before(a, b)
	if a.at_ms ~= b.at_ms then return a.at_ms < b.at_ms end
	return a.number < b.number
end

local function push(timer)
	count = count + 1
	local i = count
	while i > 1 and is_before(timer, heap[i // 2]) do
		heap[i], i = heap[i // 2], i // 2
	end
	heap[i] = timer
end

local function pop()
	local first, last = heap[1], heap[count]
	heap[count], count = nil, count - 1
	if count == 0 then return first end
	local i = 1
	while true do
		local child = 2 * i
		if child > count then break end
		if child < count and is_before(heap[child + 1], heap[child]) then child = child + 1 end
		if not is_before(heap[child], last) then break end
		heap[i], i = heap[child], child
	end
	heap[i] = last
	return first
end

--- Begins a new simulation at time 0 without timers.
function M.reset()
	now_ms, heap, count, number, errors = 0, {}, 0, 0, {}
	M.running = nil
end

--- What was caught since the reset, as a list of texts.
function M.caught()
	return errors
end

local function failed(text)
	errors[#errors + 1] = text
end

local function caught(failure)
	return debug.traceback(tostring(failure), 2)
end

function M.on_error() end

function M.errors()
	return #errors
end

local function outcome(ok, ...)
	if not ok then failed((...)) end
	return ok, ...
end

function M.try(fn, ...)
	return outcome(xpcall(fn, caught, ...))
end

function M.guard(fn, self)
	return function(...)
		if self ~= nil then M.try(fn, self, ...) else M.try(fn, ...) end
	end
end

--- Runs fn(...) as the code of a node.
function M.as(node, fn, ...)
	local before = M.running
	M.running = node
	M.try(fn, ...)
	M.running = before
end

function M.resume(co, ...)
	local ok, text = coroutine.resume(co, ...)
	if not ok then failed(tostring(text)) end
end

function M.launch(fn, ...)
	local co = coroutine.create(fn)
	M.resume(co, ...)
	return co
end

function M.spawn(fn, ...)
	return M.launch(M.try, fn, ...)
end

function M.now()
	return now_ms
end

local Timer = {}
Timer.__index = Timer

function Timer:is_closing()
	return self.closed == true
end

function Timer:close()
	self.closed = true
end

function M.close(handle)
	if handle and not handle:is_closing() then handle:close() end
end

local function add(ms, fn, every_ms)
	number = number + 1
	local timer = setmetatable({
		at_ms = now_ms + math.max(0, math.floor(ms)), number = number, fn = fn, every_ms = every_ms, node = M.running,
		life = M.running and M.running.life,
	}, Timer)
	push(timer)
	return timer
end

function M.after(ms, fn)
	return add(ms, fn)
end

function M.every(ms, fn)
	return add(ms, fn, ms)
end

function M.sleep(ms)
	local co = coroutine.running()
	M.after(ms, function() M.resume(co) end)
	coroutine.yield()
end

function M.defer(fn)
	M.after(0, fn)
end

function M.pause()
	M.sleep(0)
end

function M.on_signal()
	return setmetatable({}, Timer) -- no signals arrive
end

local function fire(timer)
	local node = timer.node
	if timer.closed or (node and (node.state == "down" or node.life ~= timer.life)) then return end
	if node and node.state == "paused" then
		node.held[#node.held + 1] = timer -- runs when the node goes on, as after SIGSTOP and SIGCONT
		return
	end
	M.as(node, timer.fn)
	if not timer.every_ms or timer.closed then return end
	number = number + 1
	timer.at_ms, timer.number = now_ms + timer.every_ms, number
	push(timer)
end

--- Lets a paused node go on: what was due meanwhile runs now.
function M.release(node)
	local held = node.held
	node.held = {}
	for _, timer in ipairs(held) do
		timer.at_ms = now_ms
		push(timer)
	end
end

--- Runs everything that is due until a time, which is the time afterwards.
function M.run_until(ms)
	while count > 0 and heap[1].at_ms <= ms do
		local timer = pop()
		now_ms = math.max(now_ms, timer.at_ms)
		fire(timer)
	end
	now_ms = math.max(now_ms, ms)
end

return M
