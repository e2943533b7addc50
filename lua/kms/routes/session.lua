--- Sessions (docs/protocol.md section 15): POST /session opens one, for an application or for a member. Messages are in
-- kms.routes.session_message.

local err = require("kms.base.err")
local native = require("kms_native")
local needs = require("kms.base.needs")
local rate_limit = require("kms.base.rate_limit")
local session_message = require("kms.routes.session_message")

local M = {}

local Session = {}
Session.__index = Session

local MAX_OPENING_BYTES = 8192 -- of the body: an envelope of a key and a few sids
local SHORTLY = { ["Retry-After"] = 1 }

-- A full table is no failure of this node's own.
local function opening_failed(message, code)
	return err.reply(code, message, code == "ERR_RATE" and SHORTLY or nil)
end

-- Opens the envelope and reads the offer. Returns true | nil, message, code.
local function accept(self, inbound, caller, opening)
	local envelope, message, code = native.envelope(inbound.request.head, caller.point)
	if not envelope then return nil, message, code end
	local plain
	plain, message, code = self.tee:open(envelope, caller.point, "guarded")
	if not plain then return nil, message, code end
	return opening:accept(plain)
end

-- The sealed grant, as it is sent. Returns text | nil, message, code.
local function seal_grant(self, caller, opening)
	local grant, message, code = opening:grant(self.config.SESSION_TTL_SECONDS)
	if not grant then return nil, message, code end
	local sealed
	sealed, message, code = self.tee:seal(grant, caller.point)
	if not sealed then return nil, message, code end
	local text = sealed:slice(1, sealed:len())
	sealed:close()
	return text
end

-- Opens a session of a caller of this kind ("app" or "peer").
-- Returns the body of the answer, its signature | nil, message, code.
local function open_session(self, inbound, kind, caller, signature)
	local opening <close>, message, code = self.service:session_opening(
		inbound.request.head, kind, caller.wallet, caller.app_id, caller.point)
	if not opening then return nil, message, code end
	local ok
	ok, message, code = accept(self, inbound, caller, opening)
	if not ok then return nil, message, code end
	local answer
	answer, message, code = seal_grant(self, caller, opening)
	if not answer then return nil, message, code end
	-- Before the session is added: one whose answer cannot be signed is not opened.
	local answer_signature
	answer_signature, message, code = self.tee:sign(("NovaKMS:SessionAnswer:%s:%s:%s"):format(
		signature, self.tee.address, native.hex_encode(native.sha256(answer))))
	if not answer_signature then return nil, message, code end
	ok, message, code = self.sessions:open(opening, answer, self.mono_ms())
	if not ok then return nil, message, code end
	return answer, answer_signature
end

-- Counts an opening. Returns the reply that refuses it, or nil.
local function beyond_rate(self, caller, mono_ms)
	local ok, wait_s = self.limiter:take(caller.wallet_key, mono_ms)
	if ok then return nil end
	return err.reply("ERR_RATE", "too many sessions of this wallet", { ["Retry-After"] = wait_s })
end

-- Returns the reply.
local function answer(self, inbound, kind, caller, signature)
	local body, answer_signature, code = open_session(self, inbound, kind, caller, signature)
	if not body then
		local message = answer_signature
		return opening_failed(message, code)
	end
	return { status = 200, body = body, headers = { ["X-KMS-Session-Signature"] = answer_signature } }
end

-- ---- applications ----------------------------------------------------------------------------------------

local function serve_application(self, inbound, caller, signature, mono_ms)
	local refused = beyond_rate(self, caller, mono_ms) or self.operations:admit(inbound, "session", caller)
	if refused then return refused end
	local ok, message, code = self.operations:may_open_channel(caller, mono_ms)
	if not ok then return opening_failed(message, code) end
	return answer(self, inbound, "app", caller, signature)
end

local function open_for_application(self, inbound)
	local request, mono_ms = inbound.request, self.mono_ms()
	local caller, signature, code, wait_s, wallet, app_id = self.authenticator:app_session(
		request, self.wall_ms(), mono_ms, inbound.limit_address)
	if not caller then
		inbound.wallet, inbound.refused_app_id = wallet, app_id
		local message = signature
		local reply = err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
		return wallet and self.nonces:add_to(reply) or reply
	end
	inbound.wallet, inbound.app_id = caller.wallet, caller.app_id
	return self.nonces:add_to(serve_application(self, inbound, caller, signature, mono_ms))
end

-- ---- members ---------------------------------------------------------------------------------------------

local function serve_member(self, inbound, caller, signature)
	local refused = beyond_rate(self, caller, self.mono_ms())
	if refused then return refused end
	local reply = answer(self, inbound, "peer", caller, signature)
	if reply.status == 200 then self.members:opened(caller) end
	return reply
end

local function open_for_member(self, inbound)
	local caller, signature, code, wait_s = self.members:authenticate(inbound)
	if caller then return self.nonces:add_to(serve_member(self, inbound, caller, signature)) end
	local message = signature
	local reply = err.reply(code, message, wait_s and { ["Retry-After"] = wait_s })
	return inbound.wallet and self.nonces:add_to(reply) or reply
end

-- ----------------------------------------------------------------------------------------------------------

-- The signature covers the body, which is small and therefore read first.
local function open(self, inbound)
	local request = inbound.request
	local is_members = self.members:is_members(request)
	local refused
	if is_members then refused = self.members:refusal() else refused = self.operations:not_ready() end
	if refused then return refused end
	inbound.max_body = math.min(inbound.max_body, MAX_OPENING_BYTES)
	local ok, message, code = request:read_body(inbound.max_body)
	if not ok then return err.reply(code, message) end
	return (is_members and open_for_member or open_for_application)(self, inbound)
end

--- The routes of this module, for kms.policy.route_table.
function Session:routes()
	return {
		{ name = "session", method = "POST", path = "/session", handler = function(inbound) return open(self, inbound) end },
		{
			name = "session_message", method = "POST", path = "/session/message",
			handler = function(inbound) return self.messages:serve(inbound) end,
		},
	}
end

--- @param deps service, sessions (native), tee, authenticator (kms.auth.authenticate), authorizer
-- (kms.auth.authorize), nonces (kms.auth.nonces), operations (kms.routes.operations), mono_ms, wall_ms;
-- config (SESSION_TTL_SECONDS, SESSION_OPEN_PER_MINUTE, MAX_NAMESPACES, and what kms.routes.session_message takes);
-- admit (function(inbound) -> nil, or the reply that refuses an operation: kms.policy.route_table); note
-- (function(inbound, reply, nanoseconds): kms.routes.dispatch); members (kms.sync.member_sessions)
function M.new(deps)
	local self = needs.take(deps,
		"service sessions tee authenticator authorizer nonces operations mono_ms wall_ms config admit note members")
	self.limiter = rate_limit.per_minute(self.config.SESSION_OPEN_PER_MINUTE, self.config.MAX_NAMESPACES)
	self.messages = session_message.new({
		service = self.service, sessions = self.sessions, authenticator = self.authenticator,
		authorizer = self.authorizer, operations = self.operations, mono_ms = self.mono_ms, wall_ms = self.wall_ms,
		config = self.config, admit = self.admit, note = self.note, members = self.members,
	})
	return setmetatable(self, Session)
end

return M
