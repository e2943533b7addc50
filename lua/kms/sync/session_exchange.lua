--- One exchange with a peer in a session: POST /session/message (docs/protocol.md section 15.6). Answers in plain can
-- be forged on the way: they mean no more than a connection that broke.

local calls_module = require("kms.sync.calls")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Sealed = {}
Sealed.__index = Sealed

local ATTEMPTS = 2 -- messages between members may be sent again: merging a record twice is merging it once
local FRAME_BYTES = 1024 -- of a message around its JSON
local HEADERS = { ["Content-Type"] = "application/octet-stream" }
-- HTTP statuses after which the session stays.
local BUSY = { [413] = true, [429] = true, [503] = true }

-- What became of a message beside its answer: AGAIN, the session is of no more use or has lost its connection, and the
-- message may be sent once more; LOST, the peer did not answer; nil: the answer, or this node's own failure, is final.
local AGAIN, LOST = "again", "lost"

-- Makes the message and seals it. Returns body, seq | nil, message, code, what became of it.
local function prepare(self, session, build, options)
	local seq, message, code = session:take()
	if not seq then return nil, message, code, AGAIN end
	local proof, nonce = { base64 = true }, session:nonce(seq)
	if options.master then
		proof.mac, message, code = session:mac(options.master, seq)
		if not proof.mac then return nil, message, code end
	end
	local plain
	plain, message, code = build(proof, nonce)
	if not plain then return nil, message, code end
	if plain:len() > self.max_body_bytes then
		plain:close()
		return nil, ("the message is larger than the %d bytes allowed"):format(self.max_body_bytes), "ERR_TOO_LARGE"
	end
	local body
	body, message, code = session:seal(seq, plain, self.wall_ms())
	if body then return body, seq end
	-- Another message has ended the session meanwhile.
	return nil, message, code, code == "ERR_STATE" and AGAIN or nil
end

-- What a sealed answer holds. Returns inner message, response | nil, message, code, what became of it.
local function open(self, peer, held, seq, response)
	local plain, refused, code = held.native:open(seq, response.body)
	if plain == nil then
		local message = refused
		self.opener:give_up(peer, held)
		return nil, "not the answer to this message: " .. message, code, AGAIN
	end
	if not plain then return self.calls:refusal(peer, refused.status, refused.retry_after_s) end
	held.used_ms = self.mono_ms()
	local inner, message
	inner, message, code = native.sync_parse_base64(plain)
	if not inner then return self.calls:untrusted(peer, "bad_envelope", "inner response: " .. message, code) end
	return inner, response
end

-- Sends the message once. Returns as open.
local function send(self, peer, held, build, options)
	local body, seq, code, became = prepare(self, held.native, build, options)
	if not body then
		local message = seq
		if became == AGAIN then self.opener:give_up(peer, held) end
		return nil, message, code, became
	end
	local response, message, sent
	held.calls = held.calls + 1
	response, message, code, sent = self.calls:post(peer, "/session/message", HEADERS, body, {
		timeout_ms = options.timeout_ms, stall_s = options.stall_s, once = true, direct = "peer",
		max_bytes = options.max_bytes and math.min(options.max_bytes, self.max_body_bytes) + FRAME_BYTES,
	})
	held.calls = held.calls - 1
	-- A connection that was kept alive may be one that the peer has just closed.
	if not response then return nil, message, code, code == "ERR_CONNECT" and sent and AGAIN or LOST end
	if response.status == 200 then return open(self, peer, held, seq, response) end
	calls_module.drop_body(response)
	if BUSY[response.status] then return self.calls:refusal(peer, response.status) end
	self.opener:give_up(peer, held)
	return nil, ("HTTP %d, in plain"):format(response.status), "ERR_HTTP", AGAIN
end

--- Sends one request and opens the answer, as kms.sync.exchange does.
-- @return the inner message, the HTTP response | nil, message, code: also ERR_NO_SESSION (kms.sync.session_opener)
function Sealed:call(peer, build, options)
	local inner, more, code, became
	for _ = 1, ATTEMPTS do
		local held, message
		held, message, code = self.opener:session(peer)
		if not held then return nil, message, code end
		inner, more, code, became = send(self, peer, held, build, options)
		if became ~= AGAIN then break end
	end
	if became then return self.calls:unreachable(peer, more, code) end
	return inner, more, code
end

--- @param deps peers (kms.peers); calls (kms.sync.calls); opener (kms.sync.session_opener); mono_ms; wall_ms;
--   max_body_bytes (MAX_SYNC_PAYLOAD_BYTES)
function M.new(deps)
	return setmetatable(needs.take(deps, "peers calls opener mono_ms wall_ms max_body_bytes"), Sealed)
end

return M
