--- Sessions that other members open with this node (docs/protocol.md section 15.6): who may open one, and the messages
-- in them. kms.routes.session has the routes, which applications use, too.

local err = require("kms.base.err")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local MemberSessions = {}
MemberSessions.__index = MemberSessions

local SEALED = { ["Content-Type"] = "application/octet-stream" }
local UNPROVEN_BYTES = 65536 -- of a message without a valid mac: a master_secret_request

-- ---- opening ---------------------------------------------------------------------------------------------

--- Whether a request to open a session is a member's, by its headers.
function MemberSessions.is_members(_, request)
	return request:header("x-kms-signature") ~= nil and request:header("x-app-signature") == nil
end

--- The refusal of an opening before its body is read, or nil.
function MemberSessions:refusal()
	if not self.has_sessions() then return err.reply("ERR_FORBIDDEN", "this node has no sessions with members") end
	if not self.readiness:is_verified() then return err.reply("ERR_NOT_READY", self.readiness.reason) end
	return nil
end

--- The member that opens a session. The body has been collected.
-- @return caller { wallet, wallet_key, app_id ("0"), point }, signature | nil, message, code, seconds to wait
function MemberSessions:authenticate(inbound)
	local peer, signature, code, wait_s = self.callers:authenticate(inbound, "peer_session")
	if not peer then
		local message = signature
		return nil, message, code, wait_s
	end
	return { wallet = peer.wallet, wallet_key = peer.wallet:sub(11), app_id = "0", point = peer.point }, signature
end

--- Notes that a session was opened, to end it with the member.
function MemberSessions:opened(caller)
	self.points[caller.wallet] = caller.point
end

--- Ends the sessions of wallets that are members no more, or have another key.
function MemberSessions:expire()
	for wallet, point in pairs(self.points) do
		local peer = self.peers:peer(wallet)
		if not peer or peer.point ~= point then
			self.points[wallet] = nil
			self.sessions:end_wallet("peer", wallet)
		end
	end
end

-- ---- messages --------------------------------------------------------------------------------------------

-- The reply with a sealed refusal; a failure has ended the session.
local function refuse(self, message, text, code, wait_s)
	local reply = err.reply(code, text)
	local body, _, failure = message:refuse(self.wall_ms(), reply.status, (err.wire(reply.code)), reply.message, wait_s)
	if not body then return err.reply(failure) end
	return { status = 200, headers = SEALED, body = body, code = reply.code, inner_status = reply.status }
end

-- Ends a session whose member has another registered key by now. Returns nil, message, code.
local function refuse_key(session)
	session:finish()
	return nil, "the registered key has changed since the session was opened", "ERR_UNAUTHORIZED"
end

-- The peer whose session it is. Returns peer | nil, message, code, seconds to wait: the session has ended.
local function caller_of(self, session)
	local _, wallet = session:owner()
	local peer, message, code, wait_s = self.callers:known(wallet)
	if not peer then
		session:finish()
		return nil, message, code, wait_s
	end
	if not session:is_for(peer.point) then return refuse_key(session) end
	return peer
end

-- Parses the message and looks at its proof. Returns message (native.sync_parse_base64) | nil, message, code.
local function open(self, message, plain, exchange)
	local opened, text, code = native.sync_parse_base64(plain)
	if not opened then return nil, text, code end
	exchange.secret = self.secrets.current
	local proven = false
	if exchange.secret then
		proven, text, code = message:is_proven(opened, exchange.secret)
		if proven == nil then return nil, text, code end
	end
	exchange.authentic = proven
	if proven or message:size() <= UNPROVEN_BYTES then return opened end
	opened:close()
	self.peers:record(exchange.peer, "bad_hmac", "no valid proof of the sync key")
	return nil, "missing or invalid mac", "ERR_MAC"
end

local function refuse_other_kind()
	return nil, "this session is a member's, and takes messages of members only", "ERR_FORBIDDEN"
end

-- Returns the reply's inner text | nil, message, code, seconds to wait.
local function execute(self, message, plain, exchange)
	if message:is_array() then return refuse_other_kind() end
	local opened, text, code = open(self, message, plain, exchange)
	if not opened then return nil, text, code end
	local wait_s
	if opened:text("type") then
		plain, text, code, wait_s = self.serving:execute(opened, exchange)
	else
		plain, text, code = refuse_other_kind()
	end
	opened:close()
	return plain, text, code, wait_s
end

-- Returns as execute. The key may change while the message waits and while it is dealt with: an answer in this session
-- is one to who has the old key.
local function execute_for_key(self, session, message, plain, exchange)
	local function is_for_key() return session:is_for(exchange.peer.point) end
	if not is_for_key() then return refuse_key(session) end
	local reply, text, code, wait_s = execute(self, message, plain, exchange)
	if not reply or is_for_key() then return reply, text, code, wait_s end
	reply:close()
	return refuse_key(session)
end

-- Returns the reply with the sealed answer.
local function answer(self, session, message, plain, exchange, max_bytes)
	local text, code, wait_s
	plain, text, code, wait_s = execute_for_key(self, session, message, plain, exchange)
	if plain and plain:len() > max_bytes then
		plain:close()
		plain, text, code = nil, ("the answer is larger than the %d bytes allowed"):format(max_bytes), "ERR_TOO_LARGE"
	end
	if not plain then return refuse(self, message, text, code, wait_s) end
	local body
	body, text, code = message:answer(plain, self.wall_ms())
	if not body then return refuse(self, message, text, code) end
	return { status = 200, headers = SEALED, body = self.serving:sent(body, exchange) }
end

local function is_stale(self, message)
	return math.abs(self.wall_ms() - message:time_ms()) > self.window_ms
end

-- Returns the reply to a message that was opened.
local function serve(self, inbound, session, message, plain)
	local peer, text, code, wait_s = caller_of(self, session)
	if not peer then
		inbound.request:exempt(nil)
		return refuse(self, message, text, code, wait_s)
	end
	local admitted
	admitted, wait_s = self.callers:admit(inbound, peer, "session_message")
	if not admitted then return refuse(self, message, "too many messages of this peer", "ERR_RATE", wait_s) end
	if not self.readiness:is_verified() then return refuse(self, message, self.readiness.reason, "ERR_NOT_READY") end
	if is_stale(self, message) then
		return refuse(self, message, "the message's time is not that of this node", "ERR_STALE")
	end
	local exchange = self.serving:exchange({
		peer = peer, proof = {}, nonce = message:nonce(), is_sealed = true, bytes = message:size(),
	})
	local locked, reply = self.serving:in_turn(exchange, answer, self, session, message, plain, exchange,
		inbound.max_body)
	return locked and reply or refuse(self, message, "too many requests of this peer wait", "ERR_BUSY")
end

--- Serves a message whose body has been collected. Yields.
-- @param session native, a member's
-- @return the reply, with inner_status and code of a refusal inside | nil, message, code: it is no new message of it
function MemberSessions:serve(inbound, session)
	local message <close>, plain, text, failure = session:open(inbound.request.head, self.mono_ms())
	if not message then
		local code = text
		text = plain
		return nil, text, code
	end
	local body <close> = plain -- where nobody takes it over
	local _, wallet = session:owner()
	inbound.wallet, inbound.is_member = wallet, true
	if not body then return refuse(self, message, text, failure) end
	-- Where this throws, closing ends the session: its number is used, and nobody else will answer it.
	return serve(self, inbound, session, message, body)
end

--- Whether members' messages may be served now.
function MemberSessions:is_serving()
	return self.readiness:is_verified()
end

--- @param deps sessions (native), callers (kms.sync.callers), serving (kms.sync.serving), peers, readiness
-- (is_verified, reason), secrets (field current), mono_ms, wall_ms, window_ms (POP_TIMEOUT_SECONDS in milliseconds),
-- has_sessions (function -> whether this node has sessions with members)
function M.new(deps)
	local self = needs.take(deps,
		"sessions callers serving peers readiness secrets mono_ms wall_ms window_ms has_sessions")
	self.points = {} -- of wallets that have opened sessions: the registered key then
	return setmetatable(self, MemberSessions)
end

return M
