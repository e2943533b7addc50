--- JSON-RPC with the servers that the operator named. A failed call goes to the next server, and after a pause to
-- all of them once more. In an enclave, where no single server is trusted, two must give the same result.

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
local function read_server(server, calls, options, deadline)
	local outcomes, message = server:send(calls, deadline)
	if not outcomes then return nil, message, false end
	if not options.errors then
		local ok, failure, old = check_failures(server, outcomes)
		if not ok then return nil, failure, old end
	end
	local value, refusal = options.accept(outcomes)
	if value == nil then return nil, ("%s: %s"):format(server.name, refusal), false end
	return value, outcomes
end

-- Calls one server, and remembers whether it failed. Results as read_server.
local function call_server(self, server, calls, options, deadline)
	local value, detail, old = read_server(server, calls, options, deadline)
	if value ~= nil then
		server.failing_until = 0
	elseif not old then
		server.failing_until = self.mono_ms() + AVOID_MS
	end
	return value, detail, old
end

-- The value of the first server that responds. Returns value | nil, message, whether a server lacks the state.
local function call_any(self, calls, options, deadline)
	local messages, old = {}, false
	for _, server in ipairs(in_order(self)) do
		local value, message, is_old = call_server(self, server, calls, options, deadline)
		if value ~= nil then return value end
		messages[#messages + 1], old = message, old or is_old
	end
	return nil, table.concat(messages, "; "), old
end

-- What two servers must agree on: results exactly, reverts as such.
local function fingerprint(outcomes)
	local parts = {}
	for i, outcome in ipairs(outcomes) do
		parts[i] = outcome.revert and "revert" or json.encode(outcome.result)
	end
	return table.concat(parts, "\n")
end

-- One server's vote: { value, print (nil when its outcomes cannot be compared), message, old }.
local function vote_of(self, server, calls, options, deadline)
	local value, outcomes, old = call_server(self, server, calls, options, deadline)
	if value == nil then
		local message = outcomes
		return { message = message, old = old }
	end
	-- json.encode refuses some values that cjson decodes: they agree with nothing.
	local ok, print = pcall(fingerprint, outcomes)
	return { value = value, print = ok and print or nil, message = not ok and "an odd answer" or nil }
end

-- Two servers at once, then one more at a time, until two agree. Results as call_any.
local function call_two(self, calls, options, deadline)
	local order, seen, compared, messages, old = in_order(self), {}, 0, {}, false
	local first = 1
	while first <= #order do
		local group = { order[first], first == 1 and order[2] or nil }
		first = first + #group
		local votes = parallel.map(group, #group, function(server)
			return vote_of(self, server, calls, options, deadline)
		end)
		for i = 1, #group do
			local vote = votes[i] or { message = "no answer" }
			if vote.print and seen[vote.print] then return vote.value end
			if vote.print then seen[vote.print], compared = true, compared + 1 end
			messages[#messages + 1], old = vote.message, old or vote.old
		end
	end
	if compared > 1 then messages[#messages + 1] = "the RPC servers disagree" end
	if compared == 1 then messages[#messages + 1] = "only one RPC server answered" end
	return nil, table.concat(messages, "; "), old
end

--- Makes calls until their outcomes are acceptable or the deadline has passed. Needs a coroutine.
-- @param calls list of { method, params... }
-- @param options accept: function(outcomes) -> value | nil, message; a server whose outcomes it refuses has failed
--   (outcomes: see kms.chain.rpc_server); errors: accept sees outcomes that are failures, too; single: one server
--   suffices
-- @return value | nil, message, code: ERR_OLD_STATE (a server lacks the state of that block), ERR_CHAIN
function Rpc:call(calls, options)
	local call_servers = self.agree and not options.single and call_two or call_any
	local deadline = self.mono_ms() + DEADLINE_MS
	local value, message, old
	for round = 1, ROUNDS do
		if round > 1 then loop.sleep(PAUSE_MS + math.random(0, PAUSE_MS)) end
		value, message, old = call_servers(self, calls, options, deadline)
		if value ~= nil then return value end
		if old then return nil, message, "ERR_OLD_STATE" end
		if self.mono_ms() >= deadline then break end
	end
	return nil, message, "ERR_CHAIN"
end

--- Makes calls to every server, all at the same time, once.
-- @param accept as for call
-- @return list of the accepted values, messages of the servers that failed, joined
function Rpc:call_each(calls, accept)
	local deadline, options = self.mono_ms() + DEADLINE_MS, { accept = accept }
	local values, messages = {}, {}
	local votes = parallel.map(self.servers, #self.servers, function(server)
		local value, message = call_server(self, server, calls, options, deadline)
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
