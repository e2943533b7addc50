--- A member that a node calls (spec.support.member) and that has sessions: POST /session and POST /session/message,
-- written from docs/protocol.md section 15 on spec.support.crypto. A spec overrides what it is about.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local json = require("kms.base.json")
local loopback = require("spec.support.loopback")
local members = require("spec.support.member")
local sessions = require("spec.support.session_client")

local M = {}

local FEATURES = { "pop", "session" }
local SUITE = "x25519-sha256-aes256gcm"

local function with_length(text)
	return (">s8"):pack(text)
end

-- Opens a session as a node does.
local function open(self, head, body)
	-- As it was sent: header() lowers everything.
	local function sent(name) return head:match("\r\n" .. name:gsub("%-", "%%-") .. ": *([^\r]*)") end
	local text = ("NovaKMS:PeerSession:%s:%s:%s:%s"):format(sent("X-KMS-Nonce"), self.wallet, sent("X-KMS-Timestamp"),
		crypto.hex(crypto.sha256(body)))
	local caller = crypto.recover(text, sent("X-KMS-Signature"))
	if caller ~= sent("X-KMS-Wallet") then error("the opening is not signed by its sender", 0) end
	local envelope = cjson.decode(body)
	local key = crypto.channel_key(self.identity.scalar, crypto.unhex(envelope.sender_tee_pubkey):sub(-97))
	local offer = cjson.decode(crypto.open(key, envelope))
	local scalar, sid = crypto.random(32), crypto.random(16)
	local grant = {
		e = crypto.hex(crypto.x25519_public(scalar)), expires_s = self.expires_s or 3600, max_operations = 256,
		sid = crypto.hex(sid), suite = SUITE,
	}
	if self.on_grant then self.on_grant(grant) end
	local answer = json.encode(crypto.seal(key, self.identity.der, json.encode(grant)))
	local signed = ("NovaKMS:SessionAnswer:%s:%s:%s"):format(sent("X-KMS-Signature"), self.wallet,
		crypto.hex(crypto.sha256(answer)))
	local shared = crypto.x25519(scalar, crypto.unhex(offer.e))
	local salt = crypto.sha256(with_length(text) .. with_length(body) .. with_length(answer))
	local opened = {
		sid = sid, salt = salt, offer = offer, caller = caller, seqs = {},
		c2s = crypto.hkdf(shared, salt, "nova-kms session c2s", 32),
		s2c = crypto.hkdf(shared, salt, "nova-kms session s2c", 32),
	}
	for _, ended in ipairs(offer.ends or {}) do self.sessions[crypto.unhex(ended)] = nil end
	self.sessions[sid], self.openings[#self.openings + 1] = opened, opened
	local signature = crypto.sign(self.signer or self.identity.wallet_key, signed)
	return loopback.reply(answer, "X-KMS-Session-Signature: " .. signature .. "\r\n")
end

local function plain(status, code)
	return loopback.reply(cjson.encode({ code = code, message = code }), nil, status .. " No")
end
M.plain = plain

--- A sealed answer. @param seq the request's; @param text JSON
function M.seal(session, seq, text)
	local number = (">I8"):pack(seq)
	return number .. crypto.aead_seal(session.s2c, "\0\0\0\0" .. number, "nova-kms" .. session.sid .. number,
		sessions.content(text))
end

local function message(self, body)
	local sid, seq = body:sub(1, 16), (">I8"):unpack(body:sub(17, 24))
	local session = self.sessions[sid]
	if not session then return plain(410, "session_unknown") end
	if session.seqs[seq] then error("a number was used twice", 0) end
	session.seqs[seq] = true
	local content = crypto.aead_open(session.c2s, "\0\0\0\0" .. body:sub(17, 24), "nova-kms" .. body:sub(1, 24),
		body:sub(25)) or error("a message does not open", 0)
	local _, text = (">I8s4"):unpack(content)
	local exchange = { inner = cjson.decode(text), session = session, seq = seq }
	self.received[#self.received + 1] = exchange
	local reply = self.on_request and self.on_request(exchange)
	if type(reply) == "string" then return reply end
	reply = reply or self:honest(exchange.inner)
	reply.features = reply.features or self.features
	return loopback.reply(M.seal(session, seq, json.encode(reply)), "Content-Type: application/octet-stream\r\n")
end

-- Returns a raw HTTP answer, or nil: version 1.
local function serve(self, head, body)
	local path = head:match("^POST (%S+)")
	if path ~= "/session" and path ~= "/session/message" then return nil end
	local answer = self.on_path and self.on_path(path, head, body)
	if answer then return answer end
	if not self.has_sessions then return plain(404, "not_found") end
	return path == "/session" and open(self, head, body) or message(self, body)
end

--- Starts one.
-- @return member of spec.support.member, with sessions (by sid), openings (list of sessions), features (that its
--   answers name), has_sessions; to be set: on_path(path, head, body) -> a raw HTTP answer or nil, on_grant(grant),
--   expires_s, signer
function M.start(name, secret)
	local self = members.start(name, secret)
	self.sessions, self.openings, self.features, self.has_sessions = {}, {}, FEATURES, true
	self.serve = serve
	-- Version 1 says what it has, and gives no secret to a member that has sessions, too.
	self.on_request = function(exchange)
		if exchange.session then return nil end
		local named = {}
		for _, feature in ipairs(exchange.inner.features or {}) do named[feature] = true end
		local withheld = exchange.inner.type == "master_secret_request" and named.session and self.has_sessions
		local reply = withheld and { status = "ok" } or self:honest(exchange.inner)
		reply.features, reply.pop = self.features, exchange.signature
		return reply
	end
	return self
end

return M
