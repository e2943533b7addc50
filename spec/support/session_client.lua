--- Sessions of an application (spec.support.app), written from docs/protocol.md section 15 on spec.support.crypto: none
-- of the node's own code. Every step can be overridden, so that the same client is honest or hostile.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local http = require("spec.support.http")
local uv = require("luv")

local M = {}

local Session = {}
Session.__index = Session

local SUITE = "x25519-sha256-aes256gcm"
local UNIT = 256 -- bytes that a plaintext is a multiple of

local function with_length(text)
	return (">s8"):pack(text)
end

-- The body of an opening: an envelope, as text.
local function opening_body(app, o, e)
	local offer = o.offer or { e = crypto.hex(e), ends = o.ends, op = "session", suite = SUITE }
	for name, value in pairs(o.change or {}) do offer[name] = value or nil end
	local plain = o.plain or cjson.encode(offer)
	return cjson.encode(crypto.seal(
		o.channel_key or app:channel_key(), o.sender_der or app.identity.der, plain, o.envelope_nonce))
end

--- Sends an opening.
-- @param app of spec.support.app
-- @param o table, optional: offer or change (members of it) or plain, ends, body (another one than is signed),
-- scalar (32 bytes), domain, headers (instead of those that are made), nonce, timestamp and signer as App:pop takes
-- them
-- @return response, what open_answer takes
function M.request(app, o)
	o = o or {}
	local sent = { scalar = o.scalar or crypto.random(32) }
	sent.body = o.signed_body or opening_body(app, o, crypto.x25519_public(sent.scalar))
	local nonce, timestamp = o.nonce or app:nonce(), o.timestamp or os.time()
	sent.text = ("%s:%s:%s:%s:%s"):format(o.domain or "NovaKMS:AppSession", nonce, o.recipient or app.node.wallet,
		timestamp, crypto.hex(crypto.sha256(sent.body)))
	sent.headers, sent.signature = app:pop({
		nonce = nonce, timestamp = timestamp, message = sent.text, signer = o.signer, wallet = o.wallet,
	})
	local conn = o.conn or app:connection()
	conn:write(http.format({
		method = "POST", target = "/session", headers = o.headers or sent.headers, body = o.body or sent.body,
	}))
	local response = assert(conn:receive({ method = "POST" }))
	app.next_nonce = response.headers["x-kms-next-nonce"] or app.next_nonce
	if response.headers["connection"] == "close" then conn:close() end
	return response, sent
end

-- Checks an answer, and derives the keys.
local function open_answer(app, response, sent)
	local message = ("NovaKMS:SessionAnswer:%s:%s:%s"):format(
		sent.signature, app.node.wallet, crypto.hex(crypto.sha256(response.body)))
	if crypto.recover(message, response.headers["x-kms-session-signature"]) ~= app.node.wallet then
		error("X-KMS-Session-Signature is not the node's", 0)
	end
	local envelope = cjson.decode(response.body)
	if envelope.sender_tee_pubkey ~= crypto.hex(app.node.der) then error("the answer is not from the node's key", 0) end
	local grant = cjson.decode(crypto.open(app:channel_key(), envelope) or error("the answer does not open", 0))
	if grant.suite ~= SUITE then error("another suite: " .. tostring(grant.suite), 0) end
	local shared = crypto.x25519(sent.scalar, crypto.unhex(grant.e)) or error("e of small order", 0)
	local salt = crypto.sha256(with_length(sent.text) .. with_length(sent.body) .. with_length(response.body))
	-- What was sent and what came of it, for specs about what is left of a session.
	local opening = { sent = sent, answer = response.body, shared = shared, salt = salt }
	return setmetatable({
		app = app, grant = grant, opening = opening, sid = crypto.unhex(grant.sid), seq = 0,
		c2s = crypto.hkdf(shared, salt, "nova-kms session c2s", 32),
		s2c = crypto.hkdf(shared, salt, "nova-kms session s2c", 32),
	}, Session)
end

--- Opens a session; throws where the node refuses.
function M.open(app, o)
	local response, sent = M.request(app, o)
	if response.status ~= 200 then error(("POST /session: %d %s"):format(response.status, response.body), 2) end
	return open_answer(app, response, sent)
end

-- ---- messages --------------------------------------------------------------------------------------------

--- Now, as messages say it.
function M.now_ms()
	local s, us = uv.gettimeofday()
	return s * 1000 + us // 1000
end

local function iv_of(seq)
	return (">I4I8"):pack(0, seq)
end

local function label(sid, seq)
	return "nova-kms" .. sid .. (">I8"):pack(seq)
end

--- The content of a message.
function M.content(json, time_ms)
	local plain = (">I8s4"):pack(time_ms or M.now_ms(), json)
	return plain .. ("\0"):rep(-#plain % UNIT)
end

--- A request as it is sent.
-- @param json text
-- @param o table, optional: seq (default: the next one), time_ms, content (bytes, instead of json's), sid, key
function Session:seal(json, o)
	o = o or {}
	local seq = o.seq
	if not seq then
		self.seq = self.seq + 1
		seq = self.seq
	end
	local sid = o.sid or self.sid
	local content = o.content or M.content(json, o.time_ms)
	local sealed = crypto.aead_seal(o.key or self.c2s, iv_of(seq), label(sid, seq), content)
	return sid .. (">I8"):pack(seq) .. sealed, seq
end

--- The JSON of an answer, and its time | nil: it is not the answer to this request.
function Session:open_answer(body, seq)
	if body:sub(1, 8) ~= (">I8"):pack(seq) then return nil end
	local content = crypto.aead_open(self.s2c, iv_of(seq), label(self.sid, seq), body:sub(9))
	if not content or #content % UNIT ~= 0 then return nil end
	local time_ms, json, at = (">I8s4"):unpack(content)
	local padding = content:sub(at)
	if #padding >= UNIT or padding:find("[^\0]") then return nil end
	return json, time_ms
end

--- Sends bytes as a message.
-- @return response
function M.post(app, body, o)
	local conn = o and o.conn or app:connection()
	local headers = { { "Content-Type", "application/octet-stream" } }
	conn:write(http.format({ method = "POST", target = "/session/message", headers = headers, body = body }))
	local response = assert(conn:receive({ method = "POST" }))
	if response.headers["connection"] == "close" then conn:close() end
	return response
end

--- Sends a message, whose answer must be a sealed one.
-- @param json text
-- @return its answer as JSON text
function Session:exchange(json, o)
	local body, seq = self:seal(json, o)
	local response = M.post(self.app, body, o)
	if response.status ~= 200 then error(("%d %s"):format(response.status, response.body), 2) end
	if response.headers["content-type"] ~= "application/octet-stream" then error("another type", 2) end
	return (self:open_answer(response.body, seq)) or error("not the answer to this request", 2)
end

--- Sends one operation, or a list of them.
-- @return the answer as a table
function Session:call(operations, o)
	return cjson.decode(self:exchange(cjson.encode(operations), o))
end

return M
