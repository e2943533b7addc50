--- JSON-RPC 2.0 with one server: what is sent, and strict checks of what comes back.
--
-- A request is { method, params... }. Its outcome is one of
--   { result = value }                  cjson.null counts as a value
--   { revert = message, data = hex }    the contract refused: an answer (data may be nil)
--   { failure = message, old = true }   no answer; old: the server has no state of that block

local fetch = require("kms.http.fetch")
local json = require("kms.base.json")
local parallel = require("kms.async.parallel")
local text = require("kms.base.text")
local types = require("kms.config.types")

local M = {}

local Server = {}
Server.__index = Server

local MAX_ANSWER_BYTES = 1 << 20
local MAX_MESSAGE = 200 -- bytes of a server's own words
local MAX_BATCH = 50
local SINGLES_AT_ONCE = 8
local HEADERS = { ["Content-Type"] = "application/json", Accept = "application/json" }
local ATTEMPT_MS = 4000
local CONNECT_MS = 2000
local RETRY_BATCH_MS = 600000

-- How servers say that they do not keep the state of a block.
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

-- Light clients give every error the code 1 and no data: then the message has to tell.
local function is_revert(failure, message)
	if failure.code == 3 or message:lower():find("revert", 1, true) then return true end
	return type(failure.data) == "string" and failure.data:find("^0x%x*$") ~= nil
end

local function outcome_of_error(failure)
	local code = type(failure) == "table" and math.type(failure.code) and math.tointeger(failure.code)
	if not code or type(failure.message) ~= "string" then return nil, "a malformed JSON-RPC error" end
	local message = text.cut(text.utf8(failure.message), MAX_MESSAGE)
	if is_revert(failure, message) then
		local data = type(failure.data) == "string" and failure.data:match("^0x%x*$") or nil
		return { revert = message, data = data }
	end
	return { failure = ("error %d: %s"):format(code, message), old = says_old_state(message) }
end

-- One member of an answer. Returns its outcome | nil, message.
local function outcome_of(answer, id)
	if type(answer) ~= "table" or answer.jsonrpc ~= "2.0" then return nil, "no JSON-RPC 2.0 answer" end
	if answer.id ~= id then return nil, "an answer to another call" end
	if (answer.result == nil) == (answer.error == nil) then return nil, "an answer without one result or error" end
	if answer.error ~= nil then return outcome_of_error(answer.error) end
	return { result = answer.result }
end

-- One HTTP call. Returns the decoded body | nil, message, kind: "refused" (this request is
-- not to its taste), "large".
local function post(self, body, deadline)
	local left = deadline - self.mono_ms()
	if left <= 0 then return nil, "no answer in time" end
	self.calls = self.calls + 1
	local response, message, code = fetch.request({
		url = self.url, method = "POST", body = json.encode(body), headers = HEADERS, max_bytes = MAX_ANSWER_BYTES,
		timeout_ms = math.min(left, ATTEMPT_MS), connect_timeout_ms = math.min(left, CONNECT_MS),
	})
	if not response then return nil, message, code == "ERR_TOO_LARGE" and "large" or nil end
	if response.status ~= 200 then
		local refused = response.status >= 400 and response.status < 500 and response.status ~= 429
		return nil, ("HTTP %d"):format(response.status), refused and "refused" or nil
	end
	local value = fetch.decode(response.body)
	if value == nil then return nil, "an answer that is not JSON" end
	return value
end

local function message_of(self, request)
	self.last_id = self.last_id + 1
	local params = {}
	for i = 2, #request do params[i - 1] = request[i] end
	return { jsonrpc = "2.0", id = self.last_id, method = request[1], params = json.list(params) }
end

local function send_one(self, request, deadline)
	local message = message_of(self, request)
	local answer, failure = post(self, message, deadline)
	if answer == nil then return nil, failure end
	return outcome_of(answer, message.id)
end

-- Several calls one by one; the first that fails as a whole fails them all.
local function send_singly(self, requests, deadline)
	local failure
	local outcomes = parallel.map(requests, SINGLES_AT_ONCE, function(request)
		if failure then return nil end
		local outcome, message = send_one(self, request, deadline)
		if not outcome then failure = failure or message end
		return outcome
	end)
	if failure then return nil, failure end
	return outcomes
end

-- The answers to a batch come in any order, each call's once.
local function sort_answers(messages, answers)
	if type(answers) ~= "table" or #answers ~= #messages then return nil, "not an answer to each call" end
	local by_id, outcomes = {}, {}
	for _, answer in ipairs(answers) do
		local id = type(answer) == "table" and math.type(answer.id) and math.tointeger(answer.id)
		if not id or by_id[id] then return nil, "an answer to another call" end
		by_id[id] = answer
	end
	for i, message in ipairs(messages) do
		local outcome, failure = outcome_of(by_id[message.id], message.id)
		if not outcome then return nil, failure end
		outcomes[i] = outcome
	end
	return outcomes
end

-- Returns outcomes | nil, message, whether single calls are worth a try.
local function send_batch(self, requests, deadline)
	local messages = {}
	for i, request in ipairs(requests) do messages[i] = message_of(self, request) end
	local answers, message, kind = post(self, json.list(messages), deadline)
	if answers == nil then return nil, message, kind ~= nil, kind == "refused" end
	if type(answers) == "table" and answers.error ~= nil then return nil, "one error for a batch", true, true end
	return sort_answers(messages, answers)
end

local function note_refusal(self)
	self.no_batch_until = self.mono_ms() + RETRY_BATCH_MS
	if self.told then return end
	self.told = true
	self.log:info("RPC server takes no batches: single calls instead", { url = self.name })
end

local function send_part(self, requests, deadline)
	if #requests == 1 or self.mono_ms() < self.no_batch_until then return send_singly(self, requests, deadline) end
	local outcomes, message, singly, refused = send_batch(self, requests, deadline)
	if outcomes or not singly then return outcomes, message end
	outcomes, message = send_singly(self, requests, deadline)
	-- Where single calls fail as well, it is not batches that the server refuses.
	if outcomes and refused then note_refusal(self) end
	return outcomes, message
end

--- Sends requests, in one round trip where the server takes batches of that size.
-- @param deadline monotonic time in milliseconds
-- @return outcomes in the order of the requests | nil, message
function Server:send(requests, deadline)
	local all = {}
	for first = 1, #requests, MAX_BATCH do
		local part = table.move(requests, first, math.min(first + MAX_BATCH - 1, #requests), 1, {})
		local outcomes, message = send_part(self, part, deadline)
		if not outcomes then
			self.failures = self.failures + 1
			return nil, ("%s: %s"):format(self.name, message)
		end
		table.move(outcomes, 1, #outcomes, #all + 1, all)
	end
	return all
end

--- @param deps url, log, mono_ms
function M.new(deps)
	return setmetatable({
		url = deps.url, name = types.url.show(deps.url), log = deps.log, mono_ms = deps.mono_ms, last_id = 0,
		no_batch_until = 0, failing_until = 0,
		calls = 0, failures = 0, -- HTTP calls, and questions without an answer, since the start
	}, Server)
end

return M
