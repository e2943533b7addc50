--- The sessions of one application with one node (docs/protocol.md section 15): opens one when it is needed, sends
-- messages in it, gives it up where an answer is not authentic, and says when version 1 may be spoken instead.

local failure = require("kms.client.failure")
local fetch = require("kms.http.fetch")
local limits = require("kms.config.limits")
local node_of = require("kms.client.node")
local single_flight = require("kms.async.single_flight")
local uv = require("luv")

local M = {}

--- Stands for a session where the node has none: version 1 may be spoken.
M.V1 = {}

local Sessions = {}
Sessions.__index = Sessions

local MAX_ANSWER = 65536 -- bytes of an answer to an opening
local REMEMBERED = 8 -- sessions that were given up and are named to the node: KMS_SESSION_MAX_ENDS
local EARLIER = 0.9 -- of a session's times: it is not used up to its last second
local V1_S = 3600 -- how long a node without sessions is not asked again

local function mono_s()
	return uv.hrtime() / 1e9
end

-- ---- the end of a session -------------------------------------------------------------------------------

local function close_unused(session)
	if session.over and session.in_flight == 0 then session.handle:close() end
end

-- Uses a session no more. Its keys are erased when the last answer that is under way has come.
local function drop(self, session)
	if self.current == session then self.current = nil end
	if session.over then return false end
	session.over = true
	close_unused(session)
	return true
end

-- The same, and has the node end it with the next opening, so that a message that was held back on the way dies.
local function give_up(self, session)
	local sid = session.sid
	if not drop(self, session) then return end
	table.insert(self.given_up, sid)
	if #self.given_up > REMEMBERED then table.remove(self.given_up, 1) end
end

local function is_over(session)
	local now = mono_s()
	return now - session.opened > session.life_s * EARLIER or now - session.used > session.life_s / 4 * EARLIER
end

-- ---- opening --------------------------------------------------------------------------------------------

local function post_opening(node, signature, nonce, now_s, body)
	local headers = node:proof(signature, nonce, now_s)
	headers["Content-Type"] = "application/json"
	return fetch.request({
		url = node.url .. "/session", method = "POST", body = body, once = true, headers = headers, max_bytes = MAX_ANSWER,
		timeout_ms = node.timeout_ms, connect_timeout_ms = node.timeout_ms,
	})
end

local function finish(opening, response)
	local handle, life_s, max_operations = opening:finish(response.headers["x-kms-session-signature"], response.body)
	opening:close()
	if not handle then
		local message, code = life_s, max_operations
		if node_of.OWN_FAILURES[code] then return nil, failure.new(message, code) end
		return nil, failure.new("the answer to an opening is not trusted: " .. message, "ERR_UNVERIFIED")
	end
	local now = mono_s()
	return {
		handle = handle, sid = handle:sid(), life_s = life_s, max_operations = max_operations, opened = now, used = now,
		in_flight = 0,
	}
end

-- The node has ended these; what was given up meanwhile waits for the next opening.
local function forget(self, ends)
	local ended, left = {}, {}
	for _, sid in ipairs(ends) do ended[sid] = true end
	for _, sid in ipairs(self.given_up) do
		if not ended[sid] then left[#left + 1] = sid end
	end
	self.given_up = left
end

-- Returns a session | nil, failure.
local function open_session(self)
	local node = self.node
	local nonce, message, code, status, wait_s = node:nonce()
	if not nonce then return nil, failure.unsigned(message, code, status, wait_s) end
	local now_s, ends = node:now(), table.move(self.given_up, 1, #self.given_up, 1, {})
	local opening, signature, body = node.core:open_session(ends, nonce, now_s)
	if not opening then return nil, failure.new(signature, body) end
	local response
	response, message, code = post_opening(node, signature, nonce, now_s, body)
	if not response then return nil, failure.new(message, code) end
	if response.status ~= 200 then return nil, failure.plain(response) end
	local session, why = finish(opening, response)
	if not session then return nil, why end
	forget(self, ends)
	return session
end

-- ---- whether there are any ------------------------------------------------------------------------------

-- Asks in version 1, about a key that nobody uses. The node repeats the path, which was never used before, so its
-- answer belongs to this question: one that was recorded, or made for another request, names another path.
local function ask(self, refused)
	local path = "nova-kms/features/" .. uv.random(16):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
	local result, message, _, status, wait_s = self.node:call("derive", { path = path, length = 1, asks_sessions = true })
	if result then
		result.exchange:close()
		if not result.has_sessions then return true end
		self.memory:add(self.node.wallet)
		return nil, refused
	end
	refused.message = ("%s; asked for its features, the node does not say: %s"):format(refused.message, message)
	if failure.BUSY[status] then refused.status, refused.wait_s = status, wait_s end
	return nil, refused
end

-- Whether version 1 may be spoken after an opening has failed. Returns true | nil, failure.
local function may_speak_v1(self, why)
	local http = why.http
	local unknown_here = http and (http // 100 == 4 or http == 501) and not failure.BUSY[http]
	if not unknown_here then return nil, why end
	if self.allow_v1 then return true end
	if self.memory:has(self.node.wallet) then return nil, why end
	return ask(self, why)
end

local function open(self)
	local session, why = open_session(self)
	if session then
		self.current = session
		self.memory:add(self.node.wallet)
		return session
	end
	local ok
	ok, why = may_speak_v1(self, why)
	if not ok then return nil, why end
	self.v1_until = mono_s() + V1_S
	return M.V1
end

--- How to send operations now.
-- @return session | M.V1 | nil, failure: nothing was sent
function Sessions:ready()
	local session = self.current
	if session and not is_over(session) then return session end
	if session then give_up(self, session) end
	if mono_s() < self.v1_until then return M.V1 end
	return self.flights:with("open", open, self)
end

-- ---- messages -------------------------------------------------------------------------------------------

local function post_message(node, body)
	return fetch.request({
		url = node.url .. "/session/message", method = "POST", body = body, once = true, wiped = true,
		headers = { ["Content-Type"] = "application/octet-stream" }, max_bytes = limits.LONGEST_REPLY,
		timeout_ms = node.timeout_ms, connect_timeout_ms = node.timeout_ms,
	})
end

-- What an answer says. Returns results | nil, failure.
local function read_answer(self, session, message, seq, response)
	if response.status ~= 200 then
		if not failure.BUSY[response.status] then give_up(self, session) end
		return nil, failure.plain(response)
	end
	local results, why, code = message:open(session.handle, seq, response.body)
	response.body:close()
	if results then
		-- The refusal of a caller is the last answer of a session.
		local only = results.whole or #results == 1 and results[1]
		if only and only.code == "unauthorized" then drop(self, session) end
		return results
	end
	if node_of.OWN_FAILURES[code] then return nil, failure.new(why, code) end
	give_up(self, session)
	return nil, failure.new("what came is not the answer to this message: " .. why, "ERR_UNVERIFIED")
end

local function exchange(self, session, message)
	local _, now_ms = self.node:now()
	local body, seq, code = message:seal(session.handle, now_ms)
	if not body then
		if code == "ERR_STATE" then give_up(self, session) end -- used up
		return nil, failure.new(seq, code)
	end
	local begun = mono_s()
	local response, why, sent
	response, why, code, sent = post_message(self.node, body)
	body:close()
	if not response then
		if code ~= "ERR_BUSY" then give_up(self, session) end
		local lost = failure.new(why, code)
		lost.sent = sent
		return nil, lost
	end
	local results
	results, why = read_answer(self, session, message, seq, response)
	if not results then
		why.sent = true
		return nil, why
	end
	session.used = math.max(session.used, begun)
	return results
end

--- Sends a message and opens its answer.
-- @param session of Sessions:ready
-- @param message  native.client_message
-- @return what message:open returns | nil, failure
function Sessions:exchange(session, message)
	-- It may have ended while this call waited for it: nothing is sent.
	if session.over then return nil, failure.new("the session has ended", "ERR_SESSION") end
	session.in_flight = session.in_flight + 1
	local results, why = exchange(self, session, message)
	session.in_flight = session.in_flight - 1
	close_unused(session)
	return results, why
end

--- Erases the keys of the session, once no answer is under way.
function Sessions:close()
	if self.current then give_up(self, self.current) end
end

--- @param node  kms.client.node, connected
-- @param memory  kms.client.memory
-- @param allow_v1  whether version 1 is spoken where no session can be opened, whatever is known of the node
function M.new(node, memory, allow_v1)
	return setmetatable({
		node = node, memory = memory, allow_v1 = allow_v1, given_up = {}, v1_until = 0, flights = single_flight.new(),
	}, Sessions)
end

return M
