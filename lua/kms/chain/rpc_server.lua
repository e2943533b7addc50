--- JSON-RPC 2.0 with one server, with strict checks of its responses.
--
-- A call is { method, params... }. Its outcome is one of
--   { result = value }                  cjson.null counts as a value
--   { revert = message, data = hex }    the contract refused (data may be nil)
--   { failure = message, old = true, busy = true }   the server failed; old: it lacks the state of that block; busy:
--                                       it has too many calls

local cjson = require("cjson")

local fetch = require("kms.http.fetch")
local needs = require("kms.base.needs")
local parallel = require("kms.async.parallel")
local retry_after = require("kms.http.retry_after")
local text = require("kms.base.text")
local types = require("kms.config.types")

local M = {}

local Server = {}
Server.__index = Server

local MAX_RESPONSE_BYTES = 1 << 20
local MAX_MESSAGE = 200 -- bytes of a server's message
local MAX_BATCH = 50
local SINGLES_AT_ONCE = 8
local HEADERS = { ["Content-Type"] = "application/json", Accept = "application/json" }
local CONNECT_MS = 2000
-- How long a server that asks to wait is left alone: as it says, within bounds.
local BUSY_MS, MAX_BUSY_S = 250, 10
local RETRY_BATCH_MS = 600000

-- Messages by which servers say that they lack the state of a block.
local OLD_STATE = {
	"missing trie node", "header not found", "block not found", "block not available", "unknown block", "out of range",
	"outofrange", "state not available", "state is not available", "no state available", "historical", "pruned",
	"archive", "too old",
}

local function says_old_state(message)
	local lower = message:lower()
	for _, words in ipairs(OLD_STATE) do
		if lower:find(words, 1, true) then return true end
	end
	return false
end

local GETH_REVERT, PARITY_EXECUTION_ERROR, LIMIT_EXCEEDED = 3, -32015, -32005

-- The data of a revert: "0x...", "Reverted 0x...", or one of them within an object, as gateways pass an error on.
-- Returns nil when there is none.
local function revert_data(data)
	if type(data) == "table" then data = data.data end
	if type(data) ~= "string" then return nil end
	return data:match("^0x%x*$") or data:match("^[Rr]everted (0x%x*)$")
end

local function says_revert(words)
	return type(words) == "string" and words:lower():find("revert", 1, true) ~= nil
end

local function says_out_of_gas(words)
	return type(words) == "string" and words:lower():gsub("[^a-z]", ""):find("outofgas", 1, true) ~= nil
end

-- Parity and its kin have one code for every execution that failed. One that ran out of gas says nothing about what
-- the contract would return.
local function is_parity_revert(failure, code)
	return code == PARITY_EXECUTION_ERROR and not (says_out_of_gas(failure.message) or says_out_of_gas(failure.data))
end

-- Light clients give every error the code 1 and no data, so the message decides.
local function is_revert(failure, code)
	if code == GETH_REVERT or is_parity_revert(failure, code) then return true end
	if says_revert(failure.message) or says_revert(failure.data) then return true end
	if type(failure.data) == "table" and says_revert(failure.data.message) then return true end
	return revert_data(failure.data) ~= nil
end

local function outcome_of_error(failure)
	local code = type(failure) == "table" and math.type(failure.code) and math.tointeger(failure.code)
	if not code or type(failure.message) ~= "string" then return nil, "a malformed JSON-RPC error" end
	local message = text.cut(text.utf8(failure.message), MAX_MESSAGE)
	if is_revert(failure, code) then return { revert = message, data = revert_data(failure.data) } end
	return {
		failure = ("error %d: %s"):format(code, message), old = says_old_state(message), busy = code == LIMIT_EXCEEDED,
	}
end

-- One member of a response. Some servers send both members, and null in the one that does not apply.
-- Returns its outcome | nil, message.
local function outcome_of(response, id)
	if type(response) ~= "table" or response.jsonrpc ~= "2.0" then return nil, "no JSON-RPC 2.0 answer" end
	if response.id ~= id then return nil, "an answer to another call" end
	local result, failure = response.result, response.error
	if failure == cjson.null then failure = nil end
	if failure ~= nil and result == cjson.null then result = nil end
	if (result == nil) == (failure == nil) then return nil, "an answer without one result or error" end
	if failure ~= nil then return outcome_of_error(failure) end
	return { result = result }
end

-- Leaves it alone for so many seconds, or for a moment.
local function rest(self, seconds)
	local ms = math.max(math.min(seconds, MAX_BUSY_S) * 1000, BUSY_MS)
	self.busy_until = math.max(self.busy_until, self.mono_ms() + ms)
end

-- A server that has too many calls says so, and mostly for how long.
local function note_busy(self, response)
	if response.status ~= 429 and response.status ~= 503 then return end
	local seconds = retry_after.seconds(response.headers)
	if response.status == 503 and not seconds then return end
	rest(self, seconds or 0)
end

-- One HTTP call. Returns the decoded body | nil, message, kind: "refused" (with a 4xx), "large" (the response), or
-- nil.
local function post(self, body, deadline)
	local left = deadline - self.mono_ms()
	if left <= 0 then return nil, "no answer in time" end
	self.calls = self.calls + 1
	local response, message, code = fetch.request({
		url = self.url, method = "POST", body = body, headers = HEADERS, max_bytes = MAX_RESPONSE_BYTES,
		timeout_ms = math.min(left, self.timeout_ms), connect_timeout_ms = math.min(left, self.timeout_ms, CONNECT_MS),
		direct = "chain",
	})
	if not response then return nil, message, code == "ERR_TOO_LARGE" and "large" or nil end
	if response.status ~= 200 then
		note_busy(self, response)
		local refused = response.status >= 400 and response.status < 500 and response.status ~= 429
		return nil, ("HTTP %d"):format(response.status), refused and "refused" or nil
	end
	local value = fetch.decode(response.body)
	if value == nil then return nil, "an answer that is not JSON" end
	return value
end

-- The message of a call, which has texts, booleans and objects of those. Returns JSON, id.
local function message_of(self, call)
	local id = self.last_id + 1
	self.last_id = id
	local params = call[2] == nil and "[]" or cjson.encode({ table.unpack(call, 2) })
	return ('{"id":%d,"jsonrpc":"2.0","method":"%s","params":%s}'):format(id, call[1], params), id
end

local function send_one(self, call, deadline)
	local message, id = message_of(self, call)
	local response, failure = post(self, message, deadline)
	if response == nil then return nil, failure end
	return outcome_of(response, id)
end

-- Several calls one by one. When the HTTP call of one fails, all have failed.
local function send_singly(self, calls, deadline)
	local failure
	local outcomes = parallel.map(calls, SINGLES_AT_ONCE, function(call)
		if failure then return nil end
		local outcome, message = send_one(self, call, deadline)
		if not outcome then failure = failure or message end
		return outcome
	end)
	if failure then return nil, failure end
	return outcomes
end

-- The outcomes of a batch, whose responses come in any order, one for each call.
local function sort_responses(ids, responses)
	if type(responses) ~= "table" or #responses ~= #ids then return nil, "not an answer to each call" end
	local by_id, outcomes = {}, {}
	for _, response in ipairs(responses) do
		local id = type(response) == "table" and math.type(response.id) and math.tointeger(response.id)
		if not id or by_id[id] then return nil, "an answer to another call" end
		by_id[id] = response
	end
	for i, id in ipairs(ids) do
		local outcome, failure = outcome_of(by_id[id], id)
		if not outcome then return nil, failure end
		outcomes[i] = outcome
	end
	return outcomes
end

-- Returns outcomes | nil, message, whether single calls may succeed, whether the server refused the batch.
local function send_batch(self, calls, deadline)
	local messages, ids = {}, {}
	for i, call in ipairs(calls) do messages[i], ids[i] = message_of(self, call) end
	local responses, message, kind = post(self, "[" .. table.concat(messages, ",") .. "]", deadline)
	if responses == nil then return nil, message, kind ~= nil, kind == "refused" end
	local failure = type(responses) == "table" and responses.error or nil
	if type(failure) == "table" and failure.code == LIMIT_EXCEEDED then
		rest(self, 0)
		return nil, "too many calls", false, false
	end
	if failure ~= nil then return nil, "one error for a batch", true, true end
	return sort_responses(ids, responses)
end

local function stop_batches(self)
	self.no_batch_until = self.mono_ms() + RETRY_BATCH_MS
	if self.logged then return end
	self.logged = true
	self.log:info("RPC server takes no batches: single calls instead", { url = self.name })
end

local function send_part(self, calls, deadline)
	if #calls == 1 or self.mono_ms() < self.no_batch_until then return send_singly(self, calls, deadline) end
	local outcomes, message, singly, refused = send_batch(self, calls, deadline)
	if outcomes then return outcomes end
	if not singly then return nil, message end
	outcomes, message = send_singly(self, calls, deadline)
	if not outcomes then return nil, message end
	-- Only now is it certain that the server refuses batches and not the calls.
	if refused then stop_batches(self) end
	return outcomes
end

--- Sends calls, in one HTTP call for each MAX_BATCH of them if the server takes batches.
-- @param deadline monotonic time in milliseconds
-- @return outcomes in the order of the calls | nil, message
function Server:send(calls, deadline)
	local all = {}
	for first = 1, #calls, MAX_BATCH do
		local part = table.move(calls, first, math.min(first + MAX_BATCH - 1, #calls), 1, {})
		local outcomes, message = send_part(self, part, deadline)
		if not outcomes then
			self.failures = self.failures + 1
			return nil, ("%s: %s"):format(self.name, message)
		end
		table.move(outcomes, 1, #outcomes, #all + 1, all)
		for _, outcome in ipairs(outcomes) do
			if outcome.busy then rest(self, 0) end
		end
	end
	return all
end

--- @param deps url, log, mono_ms; timeout_ms of an HTTP call
-- @return server; its fields for others: name (for messages), busy_until (monotonic ms: it asked not to be called
--   before), and since the start calls (HTTP) and failures (of send); the caller's: failing_until (monotonic ms), asked
--   (calls that it has now), heard_ms (when it ended one, or got the first of these)
function M.new(deps)
	local self = needs.take(deps, "url log mono_ms timeout_ms")
	self.name = types.url.show(self.url)
	self.last_id, self.no_batch_until, self.failing_until, self.busy_until = 0, 0, 0, 0
	self.calls, self.failures, self.asked, self.heard_ms = 0, 0, 0, 0
	return setmetatable(self, Server)
end

return M
