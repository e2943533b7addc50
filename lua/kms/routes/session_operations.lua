--- The operations of one message of a session: kms.routes.operations decides about one by one, then all run in one
-- job, and one answer is sealed, refusals included.

local uv = require("luv")
local err = require("kms.base.err")
local loop = require("kms.base.loop")
local needs = require("kms.base.needs")

local M = {}

local Operations = {}
Operations.__index = Operations

local SEALED = { ["Content-Type"] = "application/octet-stream" }
local NAME = "session_message" -- of the route: stands in metrics for operations that have no name
local OK = { status = 200 }
local LISTINGS = { list = true }
local NO_REPLIES = {}
local SLICE_NS, LOOK_EVERY = 2000000, 16 -- longest time on decisions before other coroutines run, about

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

--- Refuses a message as a whole.
-- @return the reply with the sealed answer
function Operations:refuse_all(message, reply)
	message:refuse_all(parts_of(reply))
	return sealed(self, message, nil, reply.code)
end

-- ---- decisions -----------------------------------------------------------------------------------------------

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
-- Returns its own kms.http.inbound, the reply that refuses it or nil, seconds that its application has to wait or nil.
local function decide(self, inbound, message, index, caller, mono_ms)
	local name = message:select(index)
	local own = inbound:operation(name or NAME)
	local ok, wait_s = self.authenticator:count(caller, mono_ms)
	if not ok then
		return own, err.reply("ERR_RATE", "too many requests of this application", { ["Retry-After"] = wait_s }), wait_s
	end
	if not name then
		local why, code = message:failure(index)
		return own, err.reply(code, why)
	end
	return own, refused_by_route(self, own, message, inbound.max_body) or self.operations:admit(own, name, caller)
		or self.operations:refusal(own, name, caller, message)
end

-- What comes of the operations of a message: the list of their inbounds; replies: those of the refused ones, by index;
-- lists, changes: whether a listing, and a change of records, is allowed; wait_s: seconds that the application has to
-- wait, where it is beyond its limits. One table where nothing is refused, with room for one operation: tables that
-- are thrown away were a sixth of a small message's time.
local function new_outcomes()
	return { false, replies = NO_REPLIES, lists = false, changes = false, wait_s = nil }
end

-- Refuses an operation of the answer, and keeps the reply for the log.
local function refuse(message, outcomes, index, reply)
	if outcomes.replies == NO_REPLIES then outcomes.replies = {} end
	outcomes.replies[index] = reply
	message:refuse(index, parts_of(reply))
end

local function decide_all(self, inbound, message, count, caller)
	local outcomes, mono_ms = new_outcomes(), self.mono_ms()
	local changes, slice_began = self.operations.CHANGES, count >= LOOK_EVERY and uv.hrtime()
	for index = 1, count do
		if index % LOOK_EVERY == 0 and uv.hrtime() - slice_began > SLICE_NS then
			loop.pause()
			slice_began = uv.hrtime()
		end
		local own, refused, wait_s = decide(self, inbound, message, index, caller, mono_ms)
		local name = own.route.name
		outcomes[index] = own
		if refused then
			refuse(message, outcomes, index, refused)
			outcomes.wait_s = wait_s or outcomes.wait_s
		elseif LISTINGS[name] then
			outcomes.lists = true
		elseif changes[name] then
			outcomes.changes = true
		end
	end
	return outcomes
end

-- Refuses what has failed when it was executed.
local function refuse_failed(self, message, outcomes)
	for index, own in ipairs(outcomes) do
		local why, code
		if not outcomes.replies[index] then why, code = message:failure(index) end
		if code then refuse(message, outcomes, index, self.operations:failure(own.route.name, why, code)) end
	end
end

-- Refuses the operations with these names that nobody has refused.
local function refuse_those(message, outcomes, names, reply)
	for index, own in ipairs(outcomes) do
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
local function execute_all(self, message, outcomes, caller)
	local write = outcomes.changes and self.operations:begin_write() or nil
	local wrote, failed, code
	if outcomes.lists then
		wrote, failed, code = execute_in_turn(self, message, outcomes, caller)
	else
		wrote, failed, code = execute(self, message, caller)
	end
	if wrote == nil then
		local failure = failed
		local refused = err.reply(code, failure)
		local replies = {}
		for index in ipairs(outcomes) do replies[index] = outcomes.replies[index] or refused end
		outcomes.replies = replies
		return self:refuse_all(message, refused)
	end
	if failed then refuse_failed(self, message, outcomes) end
	return sealed(self, message, wrote and await_copies(self, message, outcomes, write) or nil)
end

local function note_all(self, outcomes, began)
	local note, replies, taken_ns = self.note, outcomes.replies, uv.hrtime() - began
	for index = 1, #outcomes do note(outcomes[index], replies[index] or OK, taken_ns) end
end

--- Decides about the operations of a message, runs what is allowed, counts and logs them; yields.
-- @param inbound kms.http.inbound of the message; @param message native, open; @param count of its operations
-- @param caller facts of kms.auth.authorize; @param began uv.hrtime() when it came
-- @return the reply with the sealed answer; its wait_s: seconds for which the client is not to be read, or nil
function Operations:run(inbound, message, count, caller, began)
	local outcomes = decide_all(self, inbound, message, count, caller)
	local reply = execute_all(self, message, outcomes, caller)
	note_all(self, outcomes, began)
	reply.wait_s = outcomes.wait_s
	return reply
end

--- @param deps as kms.routes.session_message, which makes it
function M.new(deps)
	local self = needs.take(deps, "service authenticator operations mono_ms wall_ms config admit note")
	self.max_answer = self.config.MAX_SESSION_ANSWER_BYTES
	return setmetatable(self, Operations)
end

return M
