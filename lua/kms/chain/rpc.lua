--- JSON-RPC with the servers that the operator named. A failed call goes to the next server, and after a pause to
-- all of them once more. In an enclave, where no single server is trusted, two must give the same result. That the
-- state of a block is gone is believed when two servers say so, or the only one twice, since callers then read
-- without confirmations.

local json = require("kms.base.json")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local parallel = require("kms.async.parallel")
local rpc_server = require("kms.chain.rpc_server")

local M = {}

local Rpc = {}
Rpc.__index = Rpc

local DEADLINE_MS = 8000 -- for everything that one call() takes
local ROUNDS = 2
local PAUSE_MS = 100 -- before the second round; a random part of as much is added
local AVOID_MS = 30000 -- how long a server that failed is tried last

-- Servers in the operator's order, those that failed lately last.
local function in_order(self)
	local good, bad = {}, {}
	local now = self.mono_ms()
	for _, server in ipairs(self.servers) do
		local list = now < server.failing_until and bad or good
		list[#list + 1] = server
	end
	return table.move(bad, 1, #bad, #good + 1, good)
end

-- Returns true | nil, message, whether the server lacks the block's state.
local function check_failures(server, outcomes)
	for _, outcome in ipairs(outcomes) do
		if outcome.failure then return nil, ("%s: %s"):format(server.name, outcome.failure), outcome.old end
	end
	return true
end

-- Returns value, outcomes | nil, message, whether the server lacks the block's state.
local function read_server(server, attempt)
	local outcomes, message = server:send(attempt.calls, attempt.deadline)
	if not outcomes then return nil, message, false end
	local options = attempt.options
	if not options.errors then
		local ok, failure, old = check_failures(server, outcomes)
		if not ok then return nil, failure, old end
	end
	local value, refusal = options.accept(outcomes)
	if value == nil then return nil, ("%s: %s"):format(server.name, refusal), false end
	return value, outcomes
end

-- What the rounds of one call share. lacking: server -> how often it said that it lacks the block's state.
local function new_attempt(self, calls, options)
	return { calls = calls, options = options, deadline = self.mono_ms() + DEADLINE_MS, lacking = {} }
end

-- Calls one server, and remembers whether it failed. Returns value, outcomes | nil, message.
local function call_server(self, server, attempt)
	local value, detail, old = read_server(server, attempt)
	if value ~= nil then
		server.failing_until = 0
	elseif old then
		attempt.lacking[server] = (attempt.lacking[server] or 0) + 1
	else
		server.failing_until = self.mono_ms() + AVOID_MS
	end
	return value, detail
end

-- Whether the block's state is gone, by more than one answer: of two servers, or twice of the only one.
local function lacks_state(self, attempt)
	local servers, answers = 0, 0
	for _, times in pairs(attempt.lacking) do servers, answers = servers + 1, answers + times end
	return servers >= 2 or #self.servers == 1 and answers >= 2
end

-- The value of the first server that responds. Returns value | nil, message.
local function call_any(self, attempt)
	local messages = {}
	for _, server in ipairs(in_order(self)) do
		local value, message = call_server(self, server, attempt)
		if value ~= nil then return value end
		messages[#messages + 1] = message
	end
	return nil, table.concat(messages, "; ")
end

-- What two servers must agree on: results exactly, reverts as such.
local function fingerprint(outcomes)
	local parts = {}
	for i, outcome in ipairs(outcomes) do
		parts[i] = outcome.revert and "revert" or json.encode(outcome.result)
	end
	return table.concat(parts, "\n")
end

-- One server's vote: { value, print (nil when its outcomes cannot be compared), message }.
local function vote_of(self, server, attempt)
	local value, outcomes = call_server(self, server, attempt)
	if value == nil then
		local message = outcomes
		return { message = message }
	end
	-- json.encode refuses some values that cjson decodes: they agree with nothing.
	local ok, print = pcall(fingerprint, outcomes)
	return { value = value, print = ok and print or nil, message = not ok and "an odd answer" or nil }
end

-- Two servers at once, then one more at a time, until two agree. Results as call_any.
local function call_two(self, attempt)
	local order, seen, compared, messages = in_order(self), {}, 0, {}
	local first = 1
	while first <= #order do
		local group = { order[first], first == 1 and order[2] or nil }
		first = first + #group
		local votes = parallel.map(group, #group, function(server)
			return vote_of(self, server, attempt)
		end)
		for i = 1, #group do
			local vote = votes[i] or { message = "no answer" }
			if vote.print and seen[vote.print] then return vote.value end
			if vote.print then seen[vote.print], compared = true, compared + 1 end
			messages[#messages + 1] = vote.message
		end
	end
	if compared > 1 then messages[#messages + 1] = "the RPC servers disagree" end
	if compared == 1 then messages[#messages + 1] = "only one RPC server answered" end
	return nil, table.concat(messages, "; ")
end

--- Makes calls until their outcomes are acceptable or the deadline has passed. Needs a coroutine.
-- @param calls list of { method, params... }
-- @param options accept: function(outcomes) -> value | nil, message; a server whose outcomes it refuses has failed
--   (outcomes: see kms.chain.rpc_server); errors: accept sees outcomes that are failures, too; single: one server
--   suffices
-- @return value | nil, message, code: ERR_OLD_STATE (the state of that block is gone), ERR_CHAIN
function Rpc:call(calls, options)
	local call_servers = self.agree and not options.single and call_two or call_any
	local attempt = new_attempt(self, calls, options)
	local value, message
	for round = 1, ROUNDS do
		if round > 1 then loop.sleep(PAUSE_MS + math.random(0, PAUSE_MS)) end
		value, message = call_servers(self, attempt)
		if value ~= nil then return value end
		if lacks_state(self, attempt) then return nil, message, "ERR_OLD_STATE" end
		if self.mono_ms() >= attempt.deadline then break end
	end
	return nil, message, "ERR_CHAIN"
end

--- Makes calls to every server, all at the same time, once.
-- @param accept as for call
-- @return list of the accepted values, messages of the servers that failed, joined
function Rpc:call_each(calls, accept)
	local attempt = new_attempt(self, calls, { accept = accept })
	local values, messages = {}, {}
	local votes = parallel.map(self.servers, #self.servers, function(server)
		local value, message = call_server(self, server, attempt)
		return { value = value, message = value == nil and message or nil }
	end)
	for i = 1, #self.servers do
		local vote = votes[i] or {}
		values[#values + 1] = vote.value
		messages[#messages + 1] = vote.message
	end
	return values, table.concat(messages, "; ")
end

--- HTTP calls to all servers since the start, and how many batches of calls a server failed.
-- @return calls, failures
function Rpc:counts()
	local calls, failures = 0, 0
	for _, server in ipairs(self.servers) do
		calls, failures = calls + server.calls, failures + server.failures
	end
	return calls, failures
end

--- @param deps urls; agree (two servers must give the same result); log, mono_ms
function M.new(deps)
	local self = setmetatable(needs.take(deps, "urls agree log mono_ms"), Rpc)
	self.servers = {}
	for i, url in ipairs(self.urls) do
		self.servers[i] = rpc_server.new({ url = url, log = self.log, mono_ms = self.mono_ms })
	end
	return self
end

return M
