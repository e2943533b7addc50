--- Calls of the Odyn service: kept-alive connections, so many at once, 3 s each. A failure names
-- the call and never what it carried; an operator finds it in the log.

local native = require("kms_native")
local semaphore = require("kms.async.semaphore")

local M = {}

local Calls = {}
Calls.__index = Calls

local TIMEOUT_MS = 3000
local AT_ONCE = 48 -- connections to the service, of the 64 that the process may have
local MAX_WAITING = 1024
local LOG_AGAIN_S = 10
local MAX_ANSWER = 16384 -- bytes of answers whose size does not follow from what was asked

-- Each call, whether it sends JSON, and whether what it answers is a secret.
local SENDS, WIPED = { content_type = "application/json" }, { wiped = true }
local CALLS = {
	["GET /v1/eth/address"] = {}, ["POST /v1/eth/sign"] = SENDS, ["POST /v1/eth/sign-tx"] = SENDS,
	["GET /v1/random"] = WIPED, ["GET /v1/encryption/public_key"] = {}, ["POST /v1/encryption/encrypt"] = SENDS,
	["POST /v1/attestation"] = SENDS,
	["POST /v1/encryption/decrypt"] = { content_type = "application/json", wiped = true },
}

local function failed(self, call, cause)
	local counts = self.counts[call]
	counts.failures = counts.failures + 1
	if self.log then
		self.log:limited("odyn " .. call, LOG_AGAIN_S, "warn", "the TEE service failed", { call = call, cause = cause })
	end
	return nil, ("Odyn %s: %s"):format(call, cause), "ERR_TEE"
end

local function exchange(self, call, body, max_bytes)
	local endpoint = self.endpoints[call]
	local entered, status, response, code = self.semaphore:with(endpoint.call, endpoint, body, max_bytes)
	if entered then return status, response, code end
	failed(self, call, "too many calls wait for it")
	return nil, "too many calls of the TEE service wait", "ERR_BUSY"
end

--- One call.
-- @param call  "POST /v1/eth/sign", as it is named in messages
-- @param body  what is sent, text or a body handle (closed after), or nil
-- @param max_bytes  of the answer, or nil
-- @return body handle of a 2xx answer | nil, message, code, HTTP status of another one
function Calls:ask(call, body, max_bytes)
	local counts = self.counts[call]
	counts.calls = counts.calls + 1
	local status, answer, code = exchange(self, call, body, max_bytes or MAX_ANSWER)
	if type(body) == "userdata" then body:close() end
	if answer and status then return answer end
	if code == "ERR_BUSY" then return nil, answer, code end
	if not status then return failed(self, call, answer) end
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

--- @param url  of the service; @param log  kms.base.log, or nil
-- @return calls | nil, message
function M.new(url, log)
	local endpoints, counts = {}, {} -- counts by call: { calls, failures } since the start
	for call, options in pairs(CALLS) do
		counts[call] = { calls = 0, failures = 0 }
		local method, path = call:match("^(%u+) (.*)$")
		local message
		endpoints[call], message = native.endpoint({
			url = url .. path, method = method, timeout_ms = TIMEOUT_MS, content_type = options.content_type,
			wiped = options.wiped,
		})
		if not endpoints[call] then return nil, message end
	end
	return setmetatable({
		endpoints = endpoints, log = log, counts = counts,
		semaphore = semaphore.new({ at_once = AT_ONCE, max_waiting = MAX_WAITING, wait_ms = TIMEOUT_MS }),
	}, Calls)
end

return M
