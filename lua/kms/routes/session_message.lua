--- Messages of sessions (docs/protocol.md section 15): POST /session/message. A message brings one operation or an
-- array of them, which kms.routes.operations decides about one by one; then all run in one job, and one answer is
-- sealed.
--
-- What cannot be authenticated is refused in plain; everything else is answered inside, refusals included.

local uv = require("luv")
local err = require("kms.base.err")
local needs = require("kms.base.needs")

local M = {}

local Messages = {}
Messages.__index = Messages

local FRONT_BYTES = 24 -- of a body: sid and number, which tell whether the rest is worth reading
local SEALED = { ["Content-Type"] = "application/octet-stream" }
local NAME = "session_message" -- of the route: stands in metrics for operations that have no name
local OK = { status = 200 }
local LISTINGS = { list = true }

-- What callers are told of messages that are not opened, where it is not the failure's own name.
local PLAIN = { ERR_NOT_FOUND = "ERR_SESSION_UNKNOWN", ERR_POP_NONCE_USED = "ERR_SESSION_REPLAY" }

local function plain_refusal(message, code)
	local name = PLAIN[code]
	if name then return err.reply(name) end
	return err.reply(code, message)
end

-- ---- refusals inside -------------------------------------------------------------------------------------

-- The parts of a reply that a sealed refusal says: HTTP status, code, text, seconds to wait or nil.
local function parts_of(reply)
	return reply.status, (err.wire(reply.code)), reply.message, tonumber(reply.headers["Retry-After"])
end

-- The reply around a sealed answer; a failure has ended the session.
local function sealed(self, message, copies, code)
	local body, _, failure = message:answer(self.wall_ms(), copies)
	if not body then return err.reply(failure) end
	return { status = 200, headers = SEALED, body = body, code = code }
end

-- Refuses a message as a whole.
local function refuse_all(self, message, reply)
	message:refuse_all(parts_of(reply))
	return sealed(self, message, nil, reply.code)
end

-- ---- the caller --------------------------------------------------------------------------------------------

-- Returns the facts of kms.auth.authorize | nil, the reply that refuses the message.
local function authorize(self, session, inbound, mono_ms)
	local facts, message, code, wait_s = self.authorizer:authorize(inbound.wallet, mono_ms, inbound.limit_address)
	if not facts then
		-- What the chain refuses ends the session; a chain that does not answer does not.
		if err.wire(code) == "unauthorized" then session:finish() end
		return nil, err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
	end
	if session:is_for(facts.point) then return facts end
	session:finish()
	return nil, err.reply("ERR_UNAUTHORIZED", "the registered key has changed since the session was opened")
end

local function is_stale(self, message)
	local time_ms = message:time_ms()
	return time_ms and math.abs(self.wall_ms() - time_ms) > self.window_ms
end

-- ---- operations ----------------------------------------------------------------------------------------------

-- What an operation is in bytes, about as in its JSON.
local function size_of(opened)
	local _, value = opened:numbers()
	return (value + 2) // 3 * 4 + #(opened:key() or "") + #(opened:path() or "") + #(opened:context() or "")
end

-- What the route of an operation refuses: routes.lua may lower the size of its bodies below that of messages.
local function refused_by_route(self, own, opened, max_message)
	local refused = self.admit(own)
	if refused or own.max_body >= max_message or size_of(opened) <= own.max_body then return refused end
	return err.reply("ERR_TOO_LARGE", ("the operation is larger than the %d bytes allowed"):format(own.max_body))
end

-- Decides about one operation of a message that is open.
-- Returns its own kms.http.inbound, and the reply that refuses it, or nil.
local function decide(self, inbound, message, index, caller, mono_ms)
	local opened = message:operation(index)
	local name = opened and opened:name() or NAME
	local own = inbound:operation(name)
	local ok, wait_s = self.authenticator:count(caller, mono_ms)
	if not ok then
		return own, err.reply("ERR_RATE", "too many requests of this application", { ["Retry-After"] = wait_s })
	end
	if not opened then
		local why, code = message:failure(index)
		return own, err.reply(code, why)
	end
	return own, refused_by_route(self, own, opened, inbound.max_body) or self.operations:admit(own, name, caller)
		or self.operations:refusal(own, name, caller, opened)
end

-- What comes of the operations of a message: lists of their inbounds and, where they are refused, of the replies;
-- lists: whether a listing is allowed.
local function new_outcomes()
	return { inbounds = {}, replies = {}, lists = false }
end

-- Refuses an operation of the answer, and keeps the reply for the log.
local function refuse(message, outcomes, index, reply)
	outcomes.replies[index] = reply
	message:refuse(index, parts_of(reply))
end

local function decide_all(self, inbound, message, count, caller)
	local outcomes, mono_ms = new_outcomes(), self.mono_ms()
	for index = 1, count do
		local own, refused = decide(self, inbound, message, index, caller, mono_ms)
		outcomes.inbounds[index] = own
		if refused then
			refuse(message, outcomes, index, refused)
		elseif LISTINGS[own.route.name] then
			outcomes.lists = true
		end
	end
	return outcomes
end

-- Refuses what has failed when it was executed.
local function refuse_failed(self, message, outcomes)
	for index, own in ipairs(outcomes.inbounds) do
		local why, code
		if not outcomes.replies[index] then why, code = message:failure(index) end
		if code then refuse(message, outcomes, index, self.operations:failure(own.route.name, why, code)) end
	end
end

-- Refuses the operations with these names that nobody has refused.
local function refuse_those(message, outcomes, names, reply)
	for index, own in ipairs(outcomes.inbounds) do
		if not outcomes.replies[index] and names[own.route.name] then refuse(message, outcomes, index, reply) end
	end
end

-- Returns whether something was written, whether something has failed | nil, message, code: nothing was executed.
local function execute(self, message, caller)
	return message:execute(self.service, caller.app_id, self.wall_ms(), self.max_answer)
end

-- The same when no other listing of the application runs. Where too many wait, only the listings are refused.
local function execute_in_turn(self, message, outcomes, caller)
	local wrote, failure, code = self.operations:list_in_turn(caller.app_id, execute, self, message, caller)
	if code ~= "ERR_RATE" then return wrote, failure, code end
	refuse_those(message, outcomes, LISTINGS, err.reply(code, failure))
	return execute(self, message, caller)
end

-- Waits for the copies of what was written since `write`. Returns how many there are, or nil.
local function await_copies(self, message, outcomes, write)
	local copies, failure, code = self.operations:wrote(write)
	-- They are written here, and held by too few members.
	if code then refuse_those(message, outcomes, self.operations.CHANGES, err.reply(code, failure)) end
	return copies
end

-- Runs what is allowed. Returns the reply.
local function run(self, message, outcomes, caller)
	local write = self.operations:begin_write()
	local wrote, failed, code
	if outcomes.lists then
		wrote, failed, code = execute_in_turn(self, message, outcomes, caller)
	else
		wrote, failed, code = execute(self, message, caller)
	end
	if wrote == nil then
		local failure = failed
		local refused = err.reply(code, failure)
		for index in ipairs(outcomes.inbounds) do outcomes.replies[index] = outcomes.replies[index] or refused end
		return refuse_all(self, message, refused)
	end
	if failed then refuse_failed(self, message, outcomes) end
	return sealed(self, message, wrote and await_copies(self, message, outcomes, write) or nil)
end

local function note_all(self, outcomes, began)
	local taken_ns = uv.hrtime() - began
	for index, own in ipairs(outcomes.inbounds) do self.note(own, outcomes.replies[index] or OK, taken_ns) end
end

-- ---- a message ------------------------------------------------------------------------------------------------

local function answer(self, inbound, session, message, began)
	local caller, refused = authorize(self, session, inbound, self.mono_ms())
	if not caller then return refuse_all(self, message, refused) end
	if is_stale(self, message) then
		return refuse_all(self, message, err.reply("ERR_STALE", "the message's time is not that of this node"))
	end
	local count, why, code = message:count()
	if not count then return refuse_all(self, message, err.reply(code, why)) end
	local outcomes = decide_all(self, inbound, message, count, caller)
	local reply = run(self, message, outcomes, caller)
	note_all(self, outcomes, began)
	return reply
end

local function serve_session(self, inbound, session, began)
	local _, wallet, app_id = session:owner()
	local ok, message, code = inbound.request:read_body(inbound.max_body, app_id)
	if not ok then return err.reply(code, message) end
	local opened
	opened, message, code = self.service:session_message(session, inbound.request.head, self.mono_ms())
	if not opened then return plain_refusal(message, code) end
	inbound.wallet, inbound.app_id = wallet, app_id
	local reply = answer(self, inbound, session, opened, began)
	opened:finish()
	return reply
end

--- Serves POST /session/message.
function Messages:serve(inbound)
	local began = uv.hrtime()
	local refused = self.operations:not_ready()
	if refused then return refused end
	local too_much = inbound:announces_too_much()
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	local ok, message, code = inbound.request:await_front(FRONT_BYTES, inbound.max_body)
	if not ok then return err.reply(code, message) end
	local session
	session, message, code = self.sessions:find(inbound.request.head, self.mono_ms())
	if not session then return plain_refusal(message, code) end
	local reply = serve_session(self, inbound, session, began)
	session:close()
	return reply
end

--- @param deps as kms.routes.session, which makes it; config: POP_TIMEOUT_SECONDS, MAX_SESSION_ANSWER_BYTES
function M.new(deps)
	local self = needs.take(deps,
		"service sessions authenticator authorizer operations mono_ms wall_ms config admit note")
	self.window_ms, self.max_answer = self.config.POP_TIMEOUT_SECONDS * 1000, self.config.MAX_SESSION_ANSWER_BYTES
	return setmetatable(self, Messages)
end

return M
