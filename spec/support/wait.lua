--- The one way in which specs wait: for a condition, with a deadline that only a failure reaches.
--
-- Outside a coroutine a wait runs the loop; inside one it yields, and something else must run the
-- loop (spec.support.loopback's run).

local callbacks = require("spec.support.callbacks")
local uv = require("luv")

local M = {}

--- Deadline of a wait that names none, in seconds: enough for a machine that does eight other things.
M.TIMEOUT_S = 60

-- How often a condition is looked at while nothing happens on the loop.
local POLL_MS = 20

local sleepers = {} -- timer -> true: coroutines that sleep
local timer -- of all waits outside coroutines; never closed, since luv crashes at exit over closing handles

local lost -- error of a coroutine that slept: nobody else sees it

local function pause(ms)
	local co, own = coroutine.running(), uv.new_timer()
	sleepers[own] = true
	own:start(ms, 0, function()
		sleepers[own] = nil
		own:close()
		local ok, failure = coroutine.resume(co)
		if not ok then lost = lost or failure end
	end)
	coroutine.yield()
end

-- Lets the loop do something, for POLL_MS at most. Throws what a callback threw, or a coroutine after a sleep.
local function turn()
	if coroutine.isyieldable() then return pause(POLL_MS) end
	timer = timer or uv.new_timer()
	-- It repeats: a timer that is due before the loop looks for events would leave it without a reason to wake.
	timer:start(POLL_MS, POLL_MS, function() end)
	uv.run("once")
	timer:stop()
	local failure = lost or callbacks.take()
	lost = nil
	if failure then error(failure, 0) end
end

--- Waits until condition() returns a true value.
-- @param condition  may return false and a second value, which tells how things stand
-- @param timeout_s  seconds, M.TIMEOUT_S by default
-- @return the true value | false, the last second value, when the deadline has passed
function M.holds(condition, timeout_s)
	local deadline = uv.hrtime() + (timeout_s or M.TIMEOUT_S) * 1e9
	uv.update_time() -- the loop's clock stands still while it does not run
	while true do
		local late = uv.hrtime() > deadline
		local value, detail = condition()
		if value then return value end
		if late then return false, detail end
		turn()
	end
end

--- Waits until condition() returns a true value; throws when the deadline passes.
-- @param what  what is waited for: "the node to serve"
-- @param condition  as M.holds takes it; the error shows its last second value
-- @param timeout_s  seconds, M.TIMEOUT_S by default
-- @return the true value
function M.until_true(what, condition, timeout_s)
	local value, detail = M.holds(condition, timeout_s)
	if value then return value end
	local last = detail ~= nil and "; last: " .. tostring(detail) or ""
	error(("waited %g s in vain for %s%s"):format(timeout_s or M.TIMEOUT_S, what, last), 2)
end

--- Lets `ms` milliseconds pass, for tests about time itself. To see something happen, wait for it.
function M.sleep(ms)
	if coroutine.isyieldable() then return pause(ms) end
	local due = uv.hrtime() + ms * 1e6
	repeat turn() until uv.hrtime() >= due
end

--- Ends the sleep of coroutines without resuming them: their test is over.
function M.forget()
	for own in pairs(sleepers) do own:close() end
	sleepers, lost = {}, nil
end

return M
