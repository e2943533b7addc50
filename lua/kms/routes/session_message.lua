--- Messages of sessions (docs/protocol.md section 15): POST /session/message. Who sent one, and whether it is one, is
-- decided here; its operations are kms.routes.session_operations.
--
-- What cannot be authenticated is refused in plain; everything else is answered inside, refusals included.

local uv = require("luv")
local err = require("kms.base.err")
local needs = require("kms.base.needs")
local session_bodies = require("kms.routes.session_bodies")
local session_operations = require("kms.routes.session_operations")

local M = {}

local Messages = {}
Messages.__index = Messages

local FRONT_BYTES = 24 -- of a body: sid and number, which tell whether the rest is worth reading

-- What callers are told of messages that are not opened, where it is not the failure's own name.
local PLAIN = { ERR_NOT_FOUND = "ERR_SESSION_UNKNOWN", ERR_POP_NONCE_USED = "ERR_SESSION_REPLAY" }

local function plain_refusal(message, code)
	local name = PLAIN[code]
	if name then return err.reply(name) end
	return err.reply(code, message)
end

-- Returns the facts of kms.auth.authorize | nil, the reply that refuses the message.
local function authorize(self, session, inbound, mono_ms)
	local facts, message, code, wait_s = self.authorizer:authorize(inbound.wallet, mono_ms, inbound.limit_address)
	if not facts then
		-- What the chain refuses ends the session; a chain that does not answer does not.
		if err.wire(code) == "unauthorized" then session:finish() end
		return nil, err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
	end
	-- What was sealed for one application's records must not reach another's.
	local moved = facts.app_id ~= inbound.app_id and "application"
	local changed = moved or not session:is_for(facts.point) and "key"
	if not changed then return facts end
	session:finish()
	local why = ("the registered %s has changed since the session was opened"):format(changed)
	return nil, err.reply("ERR_UNAUTHORIZED", why)
end

-- Returns the reply to a message that was opened. time_ms: when it was sealed, or nil.
local function answer(self, inbound, session, message, count, time_ms, began)
	local mono_ms, wall_ms = self.mono_ms(), self.wall_ms()
	local caller, refused = authorize(self, session, inbound, mono_ms)
	if not caller then return self.batches:refuse_all(message, refused) end
	if time_ms and (time_ms > wall_ms + self.window_ms or time_ms < wall_ms - self.window_ms) then
		return self.batches:refuse_all(message, err.reply("ERR_STALE", "the message's time is not that of this node"))
	end
	if count == 0 then
		local why, code = message:problem()
		return self.batches:refuse_all(message, err.reply(code, why))
	end
	return self.batches:run(inbound, message, count, caller, began)
end

local function serve_application(self, inbound, session, wallet, app_id, began)
	local ok, message, code = self.bodies:read(inbound, app_id)
	if not ok then return err.reply(code, message) end
	local opened <close>, count, time_ms = self.service:session_message(session, inbound.request.head, self.mono_ms())
	if not opened then
		local why, failure = count, time_ms
		return plain_refusal(why, failure)
	end
	inbound.wallet, inbound.app_id = wallet, app_id
	-- Where this throws, closing ends the session: its number is used, and nobody else will answer it.
	return answer(self, inbound, session, opened, count, time_ms, began)
end

-- Finds the session of a message, once its first bytes have arrived. Results as of the table's find().
local function find(self, request)
	local session, kind, wallet, app_id = self.sessions:find(request.head, self.mono_ms())
	if session ~= false then return session, kind, wallet, app_id end
	local ok, message, code = request:await_front(FRONT_BYTES)
	if not ok then return nil, message, code end
	return self.sessions:find(request.head, self.mono_ms())
end

-- A message of a member has the limits of the route "sync", and counts as one there.
local function serve_member(self, inbound, session, wallet, began)
	local own = inbound:operation("sync")
	local refused = self.admit(own)
	if refused then return refused end
	inbound.max_body = own.max_body
	local too_much = inbound:announces_too_much()
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	local ok, message, code = self.bodies:read(inbound, wallet, true)
	if not ok then return err.reply(code, message) end
	local reply, why, failure = self.members:serve(inbound, session)
	if not reply then return plain_refusal(why, failure) end
	own.wallet, own.is_member = wallet, true
	self.note(own, { status = reply.inner_status or reply.status, code = reply.code }, uv.hrtime() - began)
	reply.code = not reply.inner_status and reply.code or nil -- a refusal inside is noted, and has its audit line
	return reply
end

-- Serves the message of a session that is there.
local function serve_session(self, inbound, session, kind, wallet, app_id, began)
	if kind == "peer" then
		if self.members:is_serving() then return serve_member(self, inbound, session, wallet, began) end
		return err.reply("ERR_NOT_READY")
	end
	local refused = self.operations:not_ready()
	if refused then return refused end
	local too_much = inbound:announces_too_much()
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	return serve_application(self, inbound, session, wallet, app_id, began)
end

--- Serves POST /session/message.
function Messages:serve(inbound)
	local began = uv.hrtime()
	local refused = self.operations:not_ready()
	-- Members are served before applications are: what is said of a session that is gone must not depend on whose it was.
	if refused and not self.members:is_serving() then return refused end
	-- Whose message it is, and so how long it may be, its first bytes tell.
	local too_much = inbound:announces_too_much(math.max(inbound.max_body, self.max_of_member))
	if too_much then return err.reply("ERR_TOO_LARGE", too_much) end
	local session <close>, kind, wallet, app_id = find(self, inbound.request)
	if not session then
		local why, failure = kind, wallet
		return plain_refusal(why, failure)
	end
	local reply = serve_session(self, inbound, session, kind, wallet, app_id, began)
	-- What is not a member's has the limits of its address.
	if not (reply.status == 200 and kind == "peer") then inbound.request:exempt(nil) end
	return reply
end

--- @param deps as kms.routes.session, which makes it; config: POP_TIMEOUT_SECONDS, MAX_SESSION_ANSWER_BYTES, and what
-- kms.routes.session_bodies takes
function M.new(deps)
	local self = needs.take(deps,
		"service sessions authenticator authorizer operations mono_ms wall_ms config admit note members")
	self.window_ms, self.max_of_member = self.config.POP_TIMEOUT_SECONDS * 1000, self.config.MAX_SYNC_PAYLOAD_BYTES
	self.bodies = session_bodies.new(self.config)
	self.batches = session_operations.new({
		service = self.service, authenticator = self.authenticator, operations = self.operations,
		mono_ms = self.mono_ms, wall_ms = self.wall_ms, config = self.config, admit = self.admit, note = self.note,
	})
	return setmetatable(self, Messages)
end

return M
