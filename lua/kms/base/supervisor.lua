--- Tells the supervisor that started the process how it does, by the protocol of sd_notify(3): systemd with Type=notify
-- and WatchdogSec, or any other that sets NOTIFY_SOCKET. Without one nothing is sent.
--
-- READY means that the node listens. It may wait for its chain, its peers or its custodians for hours after that, and
-- must not be restarted for it; GET /ready says whether it serves.

local loop = require("kms.base.loop")
local native = require("kms_native")

local M = {}

local RETRY_MS = 100
local MAX_WAITING = 16 -- messages; the supervisor that does not read them any more needs no others
local PINGS = 3 -- in the time after which the supervisor takes the process for hung: one or two may be late

local socket -- nil: nobody to tell
local on_failure = function() end
local waiting, retry, pings = {}, nil, nil

-- Sends what waits, in order, as far as the supervisor takes it.
local function flush()
	while waiting[1] do
		local ok, message, code = native.notify(socket, waiting[1])
		if code == "ERR_BUSY" then
			retry = retry or loop.after(RETRY_MS, function()
				retry = nil
				flush()
			end)
			return
		end
		table.remove(waiting, 1)
		if not ok then on_failure(message) end
	end
end

local function tell(message)
	if not socket or #waiting == MAX_WAITING then return end
	waiting[#waiting + 1] = message
	flush()
end

-- Milliseconds between two pings that the supervisor expects of this process; nil: it expects none.
local function ping_interval(env, pid)
	local for_pid = env("WATCHDOG_PID")
	if for_pid and for_pid ~= tostring(pid) then return nil end
	local text = env("WATCHDOG_USEC") or ""
	local limit_us = text:find("^%d+$") and #text <= 18 and math.tointeger(tonumber(text)) or 0
	if limit_us == 0 then return nil end
	return math.max(1, limit_us // (1000 * PINGS))
end

--- Finds the supervisor in the environment. Pings start with M.ready: they come from a timer of the loop, so a loop
-- that hangs sends none.
-- @param env  function(name) -> environment variable or nil
-- @param pid  of this process
-- @param fail  function(message): called when a message cannot be sent
function M.connect(env, pid, fail)
	M.close()
	local name = env("NOTIFY_SOCKET")
	socket, on_failure = name ~= "" and name or nil, fail
	M.ping_ms = socket and ping_interval(env, pid)
end

--- Says that the node listens, and starts the pings.
function M.ready()
	tell("READY=1\nSTATUS=listening; not ready to serve yet")
	if not socket or not M.ping_ms or pings then return end
	pings = loop.every(M.ping_ms, function()
		-- Beside messages that wait: a ping in that queue would say that the loop ran some time ago.
		if #waiting == 0 then tell("WATCHDOG=1") end
	end)
end

--- Says what the operator reads in `systemctl status`.
-- @param text  one line
function M.status(text)
	tell("STATUS=" .. text)
end

--- Says that the node reads its policies again.
function M.reloading()
	tell(("RELOADING=1\nMONOTONIC_USEC=%d"):format(native.mono_ms() * 1000))
end

--- Says that it has done so.
-- @param ok  whether they are in force now
function M.reloaded(ok)
	tell("READY=1\nSTATUS=" .. (ok and "policies were read again"
		or "the policies have mistakes, which the log names: those from before stay in force"))
end

--- Says that the node ends.
function M.stopping()
	tell("STOPPING=1\nSTATUS=finishing requests")
end

--- Ends the pings and forgets the supervisor and what it was to be told.
function M.close()
	loop.close(retry)
	loop.close(pings)
	socket, waiting, retry, pings = nil, {}, nil, nil
end

return M
