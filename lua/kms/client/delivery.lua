--- Brings operations to a node: chooses it among several, sends a message again or to the next node where that is
-- allowed, and says what came of each operation (docs/protocol.md section 15.5).

local failure = require("kms.client.failure")
local node_of = require("kms.client.node")
local sessions = require("kms.client.sessions")

local M = {}

--- The operations that change records: sent again only where the caller allows it.
M.WRITES = { put = true, delete = true }

local MOST_OPERATIONS = 256 -- of a message
local MOST_SENDS = 4 -- of a message: once, and three times again
local LOST = { ERR_CONNECT = true, ERR_TIMEOUT = true, ERR_RESOLVE = true, ERR_TLS = true, ERR_HTTP = true }
local UNAVAILABLE = 503 -- HTTP status
local UNSURE = { [500] = true, [502] = true, [504] = true } -- in version 1: it may have been done
local SAME_NODE = { [400] = true, [409] = true, [410] = true } -- plain answers about the session, not about the node

local Delivery = {}
Delivery.__index = Delivery

-- ---- nodes ----------------------------------------------------------------------------------------------

-- A node and its sessions, connected. Returns entry | nil, failure.
local function connected(self, entry)
	if entry.sessions then return entry end
	local ok, message, code, status, wait_s = entry.node:connect(self.keys, self)
	if not ok then return nil, failure.unsigned(message, code, status, wait_s) end
	entry.sessions = entry.sessions or sessions.new(entry.node, self.memory, self.allow_v1)
	return entry
end

local function next_node(self, entry)
	if self.nodes[self.at] == entry then self.at = self.at % #self.nodes + 1 end
end

-- A node that can be sent operations, the current one or one behind it. Returns entry, session or sessions.V1 | nil,
-- failure of the last one asked.
local function usable(self)
	local why
	for _ = 1, #self.nodes do
		local entry, session = self.nodes[self.at], nil
		local found
		found, why = connected(self, entry)
		if found then session, why = entry.sessions:ready() end
		if session then return entry, session end
		next_node(self, entry)
	end
	return nil, why
end

-- ---- one message ----------------------------------------------------------------------------------------

--- Whether one of the operations changes records.
function M.has_writes(operations)
	for _, operation in ipairs(operations) do
		if M.WRITES[operation.kind] then return true end
	end
	return false
end

-- Whether a node that answers like this is only busy, and would do none of it.
local function all_busy(results)
	if results.whole then return failure.BUSY[results.whole.status] end
	for _, result in ipairs(results) do
		if not result or not failure.BUSY[result.status] then return false end
	end
	return true
end

-- What came of an operation, as Client:batch gives it out.
local function outcome_of(result)
	if not result then
		return { message = "the node's result does not fit the operation", code = "ERR_UNVERIFIED" }
	end
	if not result.status then return { result = result } end
	return {
		message = failure.words(result.status, result.code, result.message, result.retry_after_s), code = "ERR_REFUSED",
		status = result.status, wait_s = result.retry_after_s, exchange = result.exchange, sent = true,
	}
end

local function outcomes_of(results, operations)
	local outcomes = {}
	for i in ipairs(operations) do
		local result = results[i]
		if results.whole then result = results.whole end
		outcomes[i] = outcome_of(result)
	end
	return outcomes
end

--- Whether an operation that a node was too busy for may be sent again. A put or delete that got 503 may have been
-- made, without enough copies: then another caller may have written since.
-- @param outcome  of the operation, with status 429 or 503
function Delivery:may_wait(operation, outcome)
	local may_be_made = M.WRITES[operation.kind] and outcome.sent and outcome.status == UNAVAILABLE
	return not may_be_made or self.retry_writes == true
end

--- What a failure means for one of the operations that were sent.
function M.failed(operation, why)
	if not M.WRITES[operation.kind] or not why.sent then return why end
	return { message = "the outcome is not known: " .. why.message, code = "ERR_OUTCOME" }
end

-- What came of operations that were sent before, when no answer came: a write that fails now may have been done then.
local function after_loss(outcomes, operations)
	for i, outcome in ipairs(outcomes) do
		outcome.sent = true
		if not outcome.result then outcomes[i] = M.failed(operations[i], outcome) end
	end
	return outcomes
end

-- Runs an operation in version 1. Returns its outcome, and the failure where no answer came.
local function call_one_v1(entry, operation)
	local result, message, code, status, wait_s, sent = entry.node:call(operation.kind, operation.fields)
	if result then return { result = result } end
	local why = { message = message, code = code, status = status, wait_s = wait_s, sent = sent or UNSURE[status] }
	local outcome = M.failed(operation, why)
	-- Refusals of version 1 are taken for what they say: only whether to send it again depends on this.
	outcome.sent = outcome.sent or status == UNAVAILABLE
	return outcome, LOST[code] and why
end

-- Runs operations in version 1, one by one. Behind one that got no answer none is sent.
local function call_v1(entry, operations)
	local outcomes, lost = {}, nil
	for i, operation in ipairs(operations) do
		if lost then
			outcomes[i] = failure.new("not sent: " .. lost.message, lost.code)
		else
			outcomes[i], lost = call_one_v1(entry, operation)
		end
	end
	return outcomes
end

-- Whether what came of operations in version 1 says that another node should be asked: no node has done any of them.
local function lost_v1(self, outcomes, sends)
	return LOST[outcomes[1].code] and #self.nodes > 1 and sends < MOST_SENDS
end

-- Whether a message whose answer did not come may be sent again.
local function may_repeat(self, why, sends, writes)
	if node_of.OWN_FAILURES[why.code] or sends >= MOST_SENDS then return false end
	if writes and why.sent and not self.retry_writes then return false end
	if #self.nodes > 1 then return true end
	-- The only node there is: asked again at once where that can help.
	return why.code ~= "ERR_TIMEOUT" and not why.status
end

-- Sends operations to a node, once. Returns outcomes | nil, failure, and whether it may be sent again.
local function send(self, entry, session, operations, message, sends)
	local writes = M.has_writes(operations)
	if session == sessions.V1 then
		local outcomes = call_v1(entry, operations)
		if lost_v1(self, outcomes, sends) then return nil, outcomes[1], true end
		return outcomes
	end
	local results, why = entry.sessions:exchange(session, message)
	if not results then return nil, why, may_repeat(self, why, sends, writes) end
	-- A write that a busy node refused may have been made there, without enough copies.
	local elsewhere = #self.nodes > 1 and sends < MOST_SENDS and (not writes or self.retry_writes)
	local outcomes = outcomes_of(results, operations)
	if not elsewhere or not all_busy(results) then return outcomes end
	local first = outcomes[1]
	return nil, failure.new(first.message, first.code, first.status, first.wait_s), true
end

--- Sends operations as one message, and again where that is allowed; yields.
-- @param operations  list of { kind, fields }
-- @param message  native.client_message that holds them
-- @return list, in their order, of { result } or { message, code, status, wait_s, exchange } | nil, failure: no
--   authentic answer came
function Delivery:run(operations, message)
	local last -- what came of the last time it was sent
	for sends = 1, MOST_SENDS do
		local entry, session = usable(self)
		if not entry then return nil, last or session end
		local outcomes, why, again = send(self, entry, session, operations, message, sends)
		if outcomes then return last and last.sent and after_loss(outcomes, operations) or outcomes end
		-- Once it may have been done, a later try that was not sent does not make it undone.
		why.sent = why.sent or last ~= nil and last.sent
		if not again then return nil, why end
		last = why
		if not SAME_NODE[why.http] or sends > 1 then next_node(self, entry) end
	end
	return nil, last
end

--- How many operations a message may hold; opens a session where there is none; yields.
-- @return number | nil, failure
function Delivery:room()
	local entry, session = usable(self)
	if not entry then return nil, session end
	return session == sessions.V1 and MOST_OPERATIONS or math.min(session.max_operations, MOST_OPERATIONS)
end

--- Asks the nodes in turn who they are, until one says it; yields.
-- @return true | nil, failure of the last one
function Delivery:connect()
	local why
	for _, entry in ipairs(self.nodes) do
		local found
		found, why = connected(self, entry)
		if found then return true end
		next_node(self, entry)
	end
	return nil, why
end

--- Erases the keys of sessions; those with answers under way when these have come.
function Delivery:close()
	for _, entry in ipairs(self.nodes) do
		if entry.sessions then entry.sessions:close() end
	end
end

--- @param keys  kms.base.identity
-- @param options  of kms.client, and memory
function M.new(keys, options)
	local self = setmetatable({
		keys = keys, nodes = {}, at = 1, memory = options.memory, allow_v1 = options.allow_v1,
		retry_writes = options.retry_writes, require_pop = options.require_pop, wall_s = options.wall_s,
	}, Delivery)
	for i, node in ipairs(options.nodes or { options }) do
		self.nodes[i] = { node = node_of.at({
			url = node.url, node_wallet = node.node_wallet, node_pubkey = node.node_pubkey, timeout_ms = options.timeout_ms,
		}) }
	end
	return self
end

return M
