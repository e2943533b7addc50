--- Calls to the Odyn service: over kept-alive connections, AT_ONCE at a time, for at most TIMEOUT_MS each, those of its
-- storage for longer. A failure's message names the call and never its content; it is also logged.

local native = require("kms_native")
local semaphore = require("kms.async.semaphore")

local M = {}

local OdynCalls = {}
OdynCalls.__index = OdynCalls

local TIMEOUT_MS = 3000
local LIST_MS, OBJECT_MS = 30000, 120000 -- the service calls a storage elsewhere meanwhile
local AT_ONCE = 48 -- connections to the service, of the 64 that the process may have
local MAX_WAITING = 1024
local LOG_AGAIN_S = 10
local MAX_RESPONSE = 16384 -- bytes of a response, unless the caller gives another limit

local JSON = "application/json"

-- By call: whether it sends JSON, whether its response holds a secret and is wiped, and how long it may take.
local SENDS, WIPED = { content_type = JSON }, { wiped = true }
local LISTS, MOVES = { content_type = JSON, timeout_ms = LIST_MS }, { content_type = JSON, timeout_ms = OBJECT_MS }
local CALLS = {
	["GET /v1/eth/address"] = {}, ["POST /v1/eth/sign"] = SENDS, ["POST /v1/eth/sign-tx"] = SENDS,
	["GET /v1/random"] = WIPED, ["GET /v1/encryption/public_key"] = {}, ["POST /v1/encryption/encrypt"] = SENDS,
	["POST /v1/attestation"] = SENDS,
	["POST /v1/encryption/decrypt"] = { content_type = JSON, wiped = true },
	["POST /v1/s3/list"] = LISTS, ["POST /v1/s3/delete"] = LISTS, ["POST /v1/s3/get"] = MOVES,
	["POST /v1/s3/put"] = MOVES,
}

-- Counts and logs a failure. Returns nil, message, code.
local function failed(self, call, cause)
	local counts = self.counts[call]
	counts.failures = counts.failures + 1
	if self.log then
		self.log:limited("odyn " .. call, LOG_AGAIN_S, "warn", "the TEE service failed", { call = call, cause = cause })
	end
	return nil, ("Odyn %s: %s"):format(call, cause), "ERR_TEE"
end

-- Returns status, body handle (of a 2xx response) | nil, message, code.
local function exchange(self, call, body, max_bytes)
	local endpoint = self.endpoints[call]
	local entered, status, response, code = self.semaphore:with(endpoint.call, endpoint, body, max_bytes)
	if entered then return status, response, code end
	failed(self, call, "too many calls wait for it")
	return nil, "too many calls of the TEE service wait", "ERR_BUSY"
end

--- Makes one call. Yields.
-- @param call  "POST /v1/eth/sign", as messages name it
-- @param body  text, a body handle (which is closed), or nil
-- @param max_bytes  of the response, or nil
-- @return body handle of a 2xx response | nil, message, code, HTTP status of another response, the code of a call that
--   had none
function OdynCalls:call(call, body, max_bytes)
	local counts = self.counts[call]
	counts.calls = counts.calls + 1
	local status, response, code = exchange(self, call, body, max_bytes or MAX_RESPONSE)
	if type(body) == "userdata" then body:close() end
	if status and response then return response end
	local message = response
	if code == "ERR_BUSY" then return nil, message, code end
	local _, text = failed(self, call, status and ("HTTP status %d"):format(status) or message)
	return nil, text, "ERR_TEE", status, not status and code or nil
end

--- Reads a response with one of native's functions, and closes it.
-- @param read  function(response, ...) -> one or two values | nil, message, code
-- @return what read returns
function OdynCalls:read(call, read, response, ...)
	local value, second, code = read(response, ...)
	response:close()
	if value then return value, second end
	local message = second
	if code ~= "ERR_TEE" then return nil, message, code end
	return failed(self, call, "malformed answer: " .. message)
end

--- @param url  of the service; @param log  kms.base.log, or nil
-- @return calls; its field `counts` holds, by call, { calls, failures } since the start | nil, message
function M.new(url, log)
	local endpoints, counts = {}, {}
	for call, options in pairs(CALLS) do
		counts[call] = { calls = 0, failures = 0 }
		local method, path = call:match("^(%u+) (.*)$")
		local message
		endpoints[call], message = native.endpoint({
			url = url .. path, method = method, timeout_ms = options.timeout_ms or TIMEOUT_MS,
			content_type = options.content_type, wiped = options.wiped,
		})
		if not endpoints[call] then return nil, message end
	end
	return setmetatable({
		endpoints = endpoints, log = log, counts = counts,
		semaphore = semaphore.new({ at_once = AT_ONCE, max_waiting = MAX_WAITING, wait_ms = TIMEOUT_MS }),
	}, OdynCalls)
end

return M
