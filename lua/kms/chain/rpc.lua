--- JSON-RPC with the servers that the operator named: the next one where one fails, a second
-- round after a pause, and where nobody vouches for a single server, two that say the same.

local json = require("kms.base.json")
local loop = require("kms.base.loop")
local parallel = require("kms.async.parallel")
local rpc_server = require("kms.chain.rpc_server")

local M = {}

local Rpc = {}
Rpc.__index = Rpc

local DEADLINE_MS = 8000 -- for everything that one question takes
local ROUNDS = 2
local PAUSE_MS = 100 -- before a second round, and up to this much more
local AVOID_MS = 30000 -- a server that failed comes last for this long

-- Servers in their order, those that failed lately at the end.
local function in_order(self)
	local good, bad = {}, {}
	local now = self.mono_ms()
	for _, server in ipairs(self.servers) do
		local list = now < server.failing_until and bad or good
		list[#list + 1] = server
	end
	return table.move(bad, 1, #bad, #good + 1, good)
end

local function no_failure(server, outcomes)
	for _, outcome in ipairs(outcomes) do
		if outcome.failure then return nil, ("%s: %s"):format(server.name, outcome.failure), outcome.old end
	end
	return true
end

-- One server's answer. Returns value, outcomes | nil, message, whether old state is missing.
local function ask_server(self, server, requests, options, deadline)
	local outcomes, message = server:send(requests, deadline)
	local value, old = outcomes, nil
	if outcomes and not options.errors then value, message, old = no_failure(server, outcomes) end
	if value then
		value, message = options.accept(outcomes)
		if value == nil then message = ("%s: %s"):format(server.name, message) end
	end
	if value == nil then
		if not old then server.failing_until = self.mono_ms() + AVOID_MS end
		return nil, message, old
	end
	server.failing_until = 0
	return value, outcomes
end

-- The first server that answers.
local function ask_any(self, requests, options, deadline)
	local messages, old = {}, false
	for _, server in ipairs(in_order(self)) do
		local value, message, is_old = ask_server(self, server, requests, options, deadline)
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

-- Two servers at once, then one more at a time, until two have said the same.
local function ask_two(self, requests, options, deadline)
	local order, seen, answered, messages, old = in_order(self), {}, 0, {}, false
	local first = 1
	while first <= #order do
		local group = { order[first], first == 1 and order[2] or nil }
		first = first + #group
		local answers = parallel.map(group, #group, function(server)
			local value, detail, is_old = ask_server(self, server, requests, options, deadline)
			if value == nil then return { message = detail, old = is_old } end
			-- Not everything that JSON can say can be written again: then it agrees with nothing.
			local ok, print = pcall(fingerprint, detail)
			return { value = value, print = ok and print or nil, message = not ok and "an odd answer" or nil }
		end)
		for i = 1, #group do
			local answer = answers[i] or { message = "no answer" }
			if answer.print and seen[answer.print] then return answer.value end
			if answer.print then seen[answer.print], answered = true, answered + 1 end
			messages[#messages + 1], old = answer.message, old or answer.old
		end
	end
	if answered > 1 then messages[#messages + 1] = "the RPC servers disagree" end
	if answered == 1 then messages[#messages + 1] = "only one RPC server answered" end
	return nil, table.concat(messages, "; "), old
end

--- Asks until an answer is acceptable or the deadline has passed. Needs a coroutine.
-- @param requests list of { method, params... }
-- @param options accept: function(outcomes) -> value | nil, message, so that a server whose
--   answer is no good counts as failing (outcomes: see kms.chain.rpc_server); errors: `accept` sees
--   outcomes that are failures, too; single: one server's word is enough
-- @return value | nil, message, code: ERR_OLD_STATE (a server does not keep that block), ERR_CHAIN
function Rpc:ask(requests, options)
	local ask = self.agree and not options.single and ask_two or ask_any
	local deadline = self.mono_ms() + DEADLINE_MS
	local value, message, old
	for round = 1, ROUNDS do
		if round > 1 then loop.sleep(PAUSE_MS + math.random(0, PAUSE_MS)) end
		value, message, old = ask(self, requests, options, deadline)
		if value ~= nil then return value end
		if old then return nil, message, "ERR_OLD_STATE" end
		if self.mono_ms() >= deadline then break end
	end
	return nil, message, "ERR_CHAIN"
end

--- Asks every server once, all at the same time.
-- @return list of the acceptable values, message of those that failed ("" where none did)
function Rpc:ask_each(requests, accept)
	local deadline, options = self.mono_ms() + DEADLINE_MS, { accept = accept }
	local values, messages = {}, {}
	local answers = parallel.map(self.servers, #self.servers, function(server)
		local value, message = ask_server(self, server, requests, options, deadline)
		return { value = value, message = value == nil and message or nil }
	end)
	for i = 1, #self.servers do
		local answer = answers[i] or {}
		values[#values + 1] = answer.value
		messages[#messages + 1] = answer.message
	end
	return values, table.concat(messages, "; ")
end

--- HTTP calls of all servers, and how many questions to one had no answer, since the start.
function Rpc:counts()
	local calls, failures = 0, 0
	for _, server in ipairs(self.servers) do
		calls, failures = calls + server.calls, failures + server.failures
	end
	return calls, failures
end

--- @param deps urls, agree (two servers must say the same), log, mono_ms
function M.new(deps)
	local servers = {}
	for i, url in ipairs(deps.urls) do
		servers[i] = rpc_server.new({ url = url, log = deps.log, mono_ms = deps.mono_ms })
	end
	return setmetatable({ servers = servers, agree = deps.agree, mono_ms = deps.mono_ms }, Rpc)
end

return M
