--- Calls of the Odyn service: kept-alive connections, so many at once, 3 s each. A failure names
-- the call and never what it carried; an operator finds it in the log.

local gate = require("kms.gate")
local native = require("kms_native")

local M = {}

local Calls = {}
Calls.__index = Calls

local TIMEOUT_MS = 3000
local AT_ONCE = 32 -- connections that the node opens to the service; half of what a process may
local MAX_WAITING = 1024
local LOG_AGAIN_S = 10
local MAX_ANSWER = 65536 -- bytes of answers whose size does not follow from what was asked

local HEADERS = { ["Content-Type"] = "application/json" }

-- By call: { calls, failures } since the start.
local function counts_of(self, call)
	local counts = self.counts[call]
	if not counts then
		counts = { calls = 0, failures = 0 }
		self.counts[call] = counts
	end
	return counts
end

local function failed(self, call, cause)
	local counts = counts_of(self, call)
	counts.failures = counts.failures + 1
	if self.log then
		self.log:limited("odyn " .. call, LOG_AGAIN_S, "warn", "the TEE service failed", { call = call, cause = cause })
	end
	return nil, ("Odyn %s: %s"):format(call, cause), "ERR_TEE"
end

-- Gives the place back, whatever came of the call.
local function leave(self, ok, ...)
	self.gate:leave()
	if not ok then error((...), 0) end
	return ...
end

local function exchange(self, call, options)
	if not self.gate:enter() then
		failed(self, call, "too many calls wait for it")
		return nil, "too many calls of the TEE service wait", "ERR_BUSY"
	end
	return leave(self, pcall(native.fetch, options))
end

--- One call.
-- @param call  "POST /v1/eth/sign", as it is named in messages
-- @param body  what is sent, text or a body handle (closed after), or nil
-- @param options  max_bytes of the answer; wiped: it holds a secret; or nil
-- @return body handle of a 2xx answer | nil, message, code, HTTP status of another one
function Calls:ask(call, body, options)
	options = options or {}
	local counts = counts_of(self, call)
	counts.calls = counts.calls + 1
	local method, path = call:match("^(%u+) (.*)$")
	local status, answer, code = exchange(self, call, {
		url = self.url .. path, method = method, headers = body and HEADERS or nil, body = body, timeout_ms = TIMEOUT_MS,
		max_bytes = options.max_bytes or MAX_ANSWER, wiped = options.wiped, handle = true, discard_errors = true,
	})
	if type(body) == "userdata" then body:close() end
	if not status then
		if code == "ERR_BUSY" then return nil, answer, code end
		return failed(self, call, answer)
	end
	if status // 100 == 2 then return answer end
	local _, message
	_, message, code = failed(self, call, ("HTTP status %d"):format(status))
	return nil, message, code, status
end

--- Reads an answer with one of native's functions; both may fail.
-- @param read  function(answer, ...) -> what it reads | nil, message, code
-- @return what it reads | nil, message, code
function Calls:read(call, read, answer, ...)
	local value, message, code = read(answer, ...)
	answer:close()
	if value then return value, message end
	if code ~= "ERR_TEE" then return nil, message, code end
	return failed(self, call, "malformed answer: " .. message)
end

--- @param url  of the service; @param log  kms.log, or nil
function M.new(url, log)
	return setmetatable({
		url = url, log = log, counts = {},
		gate = gate.new({ at_once = AT_ONCE, max_waiting = MAX_WAITING, wait_ms = TIMEOUT_MS }),
	}, Calls)
end

return M
