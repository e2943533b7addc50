--- JSON-RPC with the servers that the operator named. A failed call goes to the next server, one to a slow server to
-- the next one as well, and after a pause to all of them once more. A server that asks to wait (429, 503) is left alone
-- for that time. In an enclave, where no single server is trusted, two must give the same result.

local json = require("kms.base.json")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")
local old_state = require("kms.chain.old_state")
local race = require("kms.chain.race")
local rpc_server = require("kms.chain.rpc_server")

local M = {}

local Rpc = {}
Rpc.__index = Rpc

local ATTEMPTS = 2 -- everything that one call() takes may take as long as so many attempts of RPC_TIMEOUT_MS
local ROUNDS = 2
local BUSY_ROUNDS = 16 -- where a server asked to wait
local PAUSE_MS = 100 -- before the second round, twice as long before each further one; as much at random is added
local MAX_PAUSE_MS = 800
local TO_AGREE = 2 -- servers
local AVOID_MS = 30000 -- how long a server that failed is tried last
local SILENT_MS = 500 -- how long a server that is being asked may say nothing until it is tried last

-- Whether it answers none of the calls that it has. Before those fail, they would take the connections of all.
local function is_silent(server, now)
	return server.asked > 0 and now - server.heard_ms >= SILENT_MS
end

-- The servers that may be asked, in the operator's order, those that failed lately or are silent last.
local function in_order(self)
	local good, bad = {}, {}
	local now = self.mono_ms()
	for _, server in ipairs(self.servers) do
		local list = (now < server.failing_until or is_silent(server, now)) and bad or good
		if now >= server.busy_until then list[#list + 1] = server end
	end
	return table.move(bad, 1, #bad, #good + 1, good)
end

-- Milliseconds until one of the servers may be asked, or, where two must answer, two of them.
local function wait_ms(self)
	local times, now = {}, self.mono_ms()
	for i, server in ipairs(self.servers) do times[i] = math.max(0, server.busy_until - now) end
	table.sort(times)
	return times[self.agree and 2 or 1] or times[1]
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
	local value, refusal = options.accept(outcomes, server)
	if value == nil then return nil, ("%s: %s"):format(server.name, refusal), false end
	return value, outcomes
end

-- What the rounds of one call share.
local function new_attempt(self, calls, options)
	local deadline = self.mono_ms() + ATTEMPTS * self.timeout_ms
	return { calls = calls, options = options, deadline = deadline, heard = old_state.heard() }
end

-- As read_server; remembers that the server is being asked.
local function ask_server(self, server, attempt)
	if server.asked == 0 then server.heard_ms = self.mono_ms() end
	server.asked = server.asked + 1
	local ok, value, detail, old = loop.try(read_server, server, attempt)
	server.asked, server.heard_ms = server.asked - 1, self.mono_ms()
	if not ok then return nil, server.name .. ": the call broke down", false end
	return value, detail, old
end

-- Calls one server, and remembers whether it failed. Returns value, outcomes | nil, message.
local function call_server(self, server, attempt)
	local value, detail, old = ask_server(self, server, attempt)
	if value ~= nil then
		server.failing_until = 0
		self.old_state:answered(server, attempt.options.old == true)
	elseif old then
		self.old_state:lacks(server, attempt.heard)
	elseif self.mono_ms() < server.busy_until then
		attempt.was_busy = true
	else
		server.failing_until = self.mono_ms() + AVOID_MS
	end
	return value, detail
end

-- The value of the first server that responds, or, of those that decide nothing, the first. Results as call.
local function call_any(self, attempt)
	local decides, messages, undecided = attempt.options.decides, {}, nil
	local value = race.run(in_order(self), 1, function(server)
		local value, message = call_server(self, server, attempt)
		if value ~= nil and (not decides or decides(value)) then return value end
		if value ~= nil and undecided == nil then undecided = value end
		messages[#messages + 1] = value == nil and message or nil
		return nil, 1
	end)
	if value == nil then value = undecided end
	if value ~= nil then return value end
	return nil, table.concat(messages, "; ")
end

local function whole(result) return result end

-- What two servers must agree on: results exactly, or the parts to compare; reverts as such.
local function fingerprint(outcomes, compare)
	local parts = {}
	for i, outcome in ipairs(outcomes) do
		parts[i] = outcome.revert and "revert" or json.encode(compare(outcome.result))
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
	local ok, print = pcall(fingerprint, outcomes, attempt.options.compare or whole)
	return { value = value, print = ok and print or nil, message = not ok and "an odd answer" or nil }
end

-- Two servers at once, then one more at a time, until two agree. Results as call_any.
local function call_two(self, attempt)
	local seen, compared, messages = {}, 0, {}
	local value = race.run(in_order(self), TO_AGREE, function(server)
		local vote = vote_of(self, server, attempt)
		if vote.print and seen[vote.print] then return vote.value end
		if vote.print then seen[vote.print], compared = true, compared + 1 end
		messages[#messages + 1] = vote.message
		return nil, compared > 0 and 1 or 2
	end)
	if value ~= nil then return value end
	if compared > 1 then messages[#messages + 1] = "the RPC servers disagree" end
	if compared == 1 then messages[#messages + 1] = "only one RPC server answered" end
	return nil, table.concat(messages, "; ")
end

-- Waits before a round, where that is of use. Returns true | nil, message.
local function pause(self, attempt, round)
	local ms = math.max(wait_ms(self), round > 1 and math.min(PAUSE_MS << (round - 2), MAX_PAUSE_MS) or 0)
	-- Other calls may be told to wait meanwhile.
	while ms > 0 do
		-- At random, so that calls which wait for the same moment do not meet again.
		ms = ms + math.random(0, PAUSE_MS)
		if self.mono_ms() + ms >= attempt.deadline then
			return nil, ("the RPC servers ask to wait %d ms"):format(ms)
		end
		loop.sleep(ms)
		ms = wait_ms(self)
	end
	return true
end

--- Makes calls until their outcomes are acceptable or the deadline has passed. Needs a coroutine.
-- @param calls list of { method, params... }
-- @param options accept: function(outcomes, server) -> value | nil, message; a server whose outcomes it refuses failed
--   (outcomes: see kms.chain.rpc_server); errors: accept sees outcomes that are failures, too; single: one server
--   suffices; decides: function(value) -> whether it ends the call, nil: any does; otherwise the others are asked as
--   well; compare: function(result) -> what of it must be the same where two must agree, nil: all of it; old: the calls
--   need the state of a block that is not the newest
-- @return value | nil, message, code: ERR_OLD_STATE (the state of that block is gone), ERR_CHAIN
function Rpc:call(calls, options)
	local call_servers = self.agree and not options.single and call_two or call_any
	local attempt = new_attempt(self, calls, options)
	local value, message, failure
	for round = 1, BUSY_ROUNDS do
		if round > ROUNDS and not attempt.was_busy then break end
		local ok, waits = pause(self, attempt, round)
		if not ok then return nil, failure and ("%s; %s"):format(failure, waits) or waits, "ERR_CHAIN" end
		attempt.was_busy = false
		value, message = call_servers(self, attempt)
		if value ~= nil then return value end
		failure = message
		if self.old_state:is_gone(attempt.heard, #self.servers) then return nil, message, "ERR_OLD_STATE" end
	end
	return nil, failure, "ERR_CHAIN"
end

--- Makes calls to every server, all at the same time, once. Once two have given values, the others have a second more
-- (kms.chain.race).
-- @param accept as for call
-- @return list of the accepted values, messages of the servers that failed, joined
function Rpc:call_each(calls, accept)
	local attempt, votes = new_attempt(self, calls, { accept = accept }), {}
	race.all(self.servers, TO_AGREE, function(server, i)
		local value, message = call_server(self, server, attempt)
		votes[i] = { value = value, message = value == nil and message or nil }
		return value ~= nil
	end)
	local values, messages = {}, {}
	for i = 1, #self.servers do
		local vote = votes[i] or {}
		values[#values + 1] = vote.value
		messages[#messages + 1] = vote.message
	end
	return values, table.concat(messages, "; ")
end

--- Whether the state of old blocks is believed to be gone by the word of one server, since no other one answers.
function Rpc:has_one_pruned_server()
	return #self.servers > 1 and self.old_state:by_one_alone()
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

--- @param deps urls; agree (two servers must give the same result); timeout_ms (RPC_TIMEOUT_MS); alone_ms (how long a
-- server must be the only one that answers until it is believed that the state of a block is gone); log, mono_ms
function M.new(deps)
	local self = setmetatable(needs.take(deps, "urls agree timeout_ms alone_ms log mono_ms"), Rpc)
	self.servers = {}
	for i, url in ipairs(self.urls) do
		self.servers[i] = rpc_server.new({
			url = url, log = self.log, mono_ms = self.mono_ms, timeout_ms = self.timeout_ms,
		})
	end
	-- Where two must agree, one alone is never believed.
	self.old_state = old_state.new({ mono_ms = self.mono_ms, wait_ms = self.agree and math.huge or self.alone_ms })
	return self
end

return M
