--- An application that calls a node: nonce, proof of possession, envelope, and the check of
-- the answer. Every step can be overridden, so that the same client is honest or hostile.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local http = require("spec.support.http")

local M = {}

local App = {}
App.__index = App

--- An application instance; register it with node:register{app}.
-- @param node of spec.support.node
-- @param app_id decimal text
-- @param name what its made-up keys come from; the same name is the same identity
function M.new(node, app_id, name)
	return M.with_identity(node, app_id, crypto.made_up(name))
end

--- The same with given keys.
function M.with_identity(node, app_id, identity)
	return setmetatable({
		node = node, app_id = app_id, identity = identity, wallet = identity.wallet, number = tonumber(app_id),
		domain = "NovaKMS:AppAuth", prefix = "X-App-", signature_header = "x-kms-response-signature",
	}, App)
end

--- Key of the channel to the node; each side derives it alone.
function App:channel_key()
	if not self.key then self.key = crypto.channel_key(self.identity.scalar, self.node.point) end
	return self.key
end

--- Its keep-alive connection to the node.
function App:connection()
	if not self.conn or self.conn.eof or self.conn.closed then
		if self.conn then self.conn:close() end
		self.conn = assert(http.connect(self.node.port))
	end
	return self.conn
end

--- Closes the connection.
function App:close()
	if self.conn then self.conn:close() end
	self.conn = nil
end

--- A nonce that was never used: the one that came with the last answer, or a fresh one.
function App:nonce()
	local nonce = self.next_nonce
	self.next_nonce = nil
	if nonce then return nonce end
	local response = assert(self:connection():request({ target = "/nonce" }))
	if response.status ~= 200 then error("GET /nonce: " .. response.status .. " " .. response.body, 2) end
	return cjson.decode(response.body).nonce
end

-- An override that is given (false included), else what `make` gives.
local function either(given, make)
	if given ~= nil then return given end
	return make()
end

--- Proof-of-possession headers.
-- @param o nonce, timestamp, recipient, message, sign (form of crypto.sign), signer (private
-- key), signature, wallet: each false leaves its header out
-- @return list of {name, value}, signature text
function App:pop(o)
	local nonce = either(o.nonce, function() return self:nonce() end)
	local timestamp = either(o.timestamp, os.time)
	local signature = either(o.signature, function()
		local message = o.message or ("%s:%s:%s:%s"):format(
			self.domain, nonce or "", o.recipient or self.node.wallet, timestamp or "")
		return crypto.sign(o.signer or self.identity.wallet_key, message, o.sign)
	end)
	local wallet = either(o.wallet, function() return self.wallet end)
	local headers = {}
	local function add(name, value)
		if value then headers[#headers + 1] = { self.prefix .. name, value } end
	end
	add("Signature", signature)
	add("Nonce", nonce)
	add("Timestamp", timestamp)
	add("Wallet", wallet)
	return headers, signature
end

-- The inner text of a request, or nil for none.
local function plain_of(o, signature)
	if o.plain or not o.inner then return o.plain end
	local inner = {}
	for name, value in pairs(o.inner) do inner[name] = value end
	if o.pop then inner.pop = o.pop == true and signature or o.pop end
	return cjson.encode(inner)
end

-- The body of a request, or nil for none.
local function body_of(self, o, signature)
	if o.body then return o.body end
	local plain = plain_of(o, signature)
	if not plain then return nil end
	local envelope = crypto.seal(
		o.channel_key or self:channel_key(), o.sender_der or self.identity.der, plain, o.envelope_nonce)
	if o.envelope then envelope = o.envelope(envelope) or envelope end
	if type(envelope) == "string" then return envelope end
	return cjson.encode(envelope), envelope
end

-- Adds what a subclass says of the envelope (spec.support.peer).
local function add_body_headers(self, headers, envelope, o)
	if self.body_headers then self:body_headers(headers, envelope, o) end
end

local function check_answer(self, response, signature)
	local message = signature and ("NovaKMS:Response:%s:%s"):format(signature, self.node.wallet)
	if message and crypto.recover(message, response.headers[self.signature_header]) ~= self.node.wallet then
		error(self.signature_header .. " is not the node's", 0)
	end
	local envelope = cjson.decode(response.body)
	for name, text in pairs(envelope) do
		if not text:find("^[0-9a-f]+$") then error("not lower-case hex: " .. name, 0) end
	end
	if #envelope.nonce ~= 64 then error("the answer's nonce is not 32 bytes", 0) end
	if envelope.sender_tee_pubkey ~= crypto.hex(self.node.der) then error("the answer is not from the node's key", 0) end
	response.plain = crypto.open(self:channel_key(), envelope)
	if not response.plain then error("the answer is not for this application's registered key", 0) end
	response.inner = cjson.decode(response.plain)
end

--- Sends a request and does not wait.
-- @param o method, target, inner (table) or plain (text) or body (raw), pop (true or a text: goes
-- into `inner`), headers (more of them), what App:pop takes, and for the envelope sender_der,
-- channel_key, envelope_nonce, envelope (function that edits it or returns a body); conn
-- @return what App:receive takes
function App:send(o)
	local headers, signature
	if o.no_pop then headers = {} else headers, signature = self:pop(o) end
	for _, header in ipairs(o.headers or {}) do headers[#headers + 1] = header end
	local body, envelope = body_of(self, o, signature)
	if body then headers[#headers + 1] = { "Content-Type", "application/json" } end
	add_body_headers(self, headers, envelope, o)
	local conn = o.conn or self:connection()
	conn:write(http.format({ method = o.method, target = o.target, headers = headers, body = body }))
	return { conn = conn, signature = signature, method = o.method }
end

--- Takes the answer of a request that was sent. A 200 must be signed and sealed as specified.
-- @return response {status, headers, body, code and message (errors), plain and inner (200)}
function App:receive(sent)
	local response, message = sent.conn:receive({ method = sent.method })
	if not response then error("no answer: " .. message, 2) end
	self.next_nonce = response.headers["x-kms-next-nonce"] or self.next_nonce
	if response.headers["connection"] == "close" then sent.conn:close() end
	response.signature = sent.signature
	if response.status == 200 then
		check_answer(self, response, sent.signature)
		return response
	end
	local ok, failure = pcall(cjson.decode, response.body)
	if ok and type(failure) == "table" then response.code, response.message = failure.code, failure.message end
	return response
end

--- Sends a request and takes its answer.
function App:call(o)
	return self:receive(self:send(o))
end

local function merged(base, o)
	for name, value in pairs(o or {}) do base[name] = value end
	return base
end

--- POST /kms/derive.
function App:derive(inner, o)
	return self:call(merged({ method = "POST", target = "/kms/derive", inner = inner }, o))
end

--- PUT /kms/data of a plain value.
function App:put(key, value, o)
	local inner = { key = key, value = crypto.base64(value) }
	return self:call(merged({ method = "PUT", target = "/kms/data", inner = merged(inner, o and o.more) }, o))
end

--- DELETE /kms/data.
function App:delete(key, o)
	return self:call(merged({ method = "DELETE", target = "/kms/data", inner = { key = key } }, o))
end

--- A key as it stands in a URL: everything that is not unreserved is encoded.
function M.encode(key)
	return (key:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- GET /kms/data/<key>.
function App:get(key, o)
	return self:call(merged({ method = "GET", target = "/kms/data/" .. M.encode(key) }, o))
end

--- GET /kms/data.
function App:list(o)
	return self:call(merged({ method = "GET", target = "/kms/data" }, o))
end

--- A stored value, or nil where the node says 404.
function App:value(key, o)
	local response = self:get(key, o)
	if response.status == 404 then return nil end
	if response.status ~= 200 then error(("GET %s: %d %s"):format(key, response.status, response.body), 2) end
	return crypto.unbase64(response.inner.value)
end

M.App = App

return M
