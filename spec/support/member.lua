--- A member of the cluster that a node calls: GET /nonce and POST /sync on loopback, in the spec's own
-- process. It behaves as existing nodes do; a spec overrides what it is about.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local json = require("kms.base.json")
local loopback = require("spec.support.loopback")

local M = {}

local Member = {}
Member.__index = Member

--- A header of a request, in lower case, or nil.
function M.header(head, name)
	return head:lower():match("\r\n" .. name:lower():gsub("%-", "%%-") .. ": *([^\r]*)")
end

-- The signature as it was sent: header() lowers everything, which hexadecimal does not mind.
local function signature_of(head)
	return head:match("\r\n[Xx]%-[Kk][Mm][Ss]%-[Ss]ignature: *([^\r]*)")
end

--- What an existing node says to an inner request.
function Member:honest(inner)
	if inner.type == "delta" then
		local total = 0
		for app_id, records in pairs(inner.data) do
			for _, record in ipairs(records) do
				total = total + 1
				self.records[app_id .. "/" .. record.key] = record
			end
		end
		return { status = "ok", total = total, merged = total, skipped = 0, rejected = 0, skip_reasons = {} }
	end
	if inner.type == "snapshot_request" then return { status = "ok", data = self.data } end
	return { status = "ok", sealed = crypto.seal_secret(self.secret, inner.ecdh_pubkey) }
end

-- Opens a request and makes the answer to it.
local function answer(self, head, body)
	local envelope = cjson.decode(body)
	local key = crypto.channel_key(self.identity.scalar, crypto.unhex(envelope.sender_tee_pubkey):sub(-97))
	local inner = cjson.decode(crypto.open(key, envelope))
	local exchange = {
		signature = signature_of(head), mac = M.header(head, "x-sync-signature"), inner = inner, envelope = envelope,
		key = key, der = self.identity.der, signer = self.identity.wallet_key,
	}
	self.received[#self.received + 1] = exchange
	local reply = self.on_request and self.on_request(exchange) or self:honest(inner)
	if type(reply) == "string" then return reply end
	local sealed = crypto.seal(exchange.key, exchange.der, json.encode(reply))
	local signature = crypto.sign(exchange.signer, ("NovaKMS:Response:%s:%s"):format(exchange.signature, self.wallet))
	if self.on_reply then sealed = self.on_reply(sealed, exchange) or sealed end
	return loopback.reply(json.encode(sealed), "X-KMS-Peer-Signature: " .. signature .. "\r\n")
end

local function respond(self, client, head, body)
	self.calls = self.calls + 1
	if self.away then return client:close() end
	if head:find("^GET /nonce ") then
		return client:write(loopback.reply('{"nonce":"' .. crypto.base64(crypto.random(16)) .. '"}'))
	end
	if self.hangs then
		self.held = client
		return
	end
	local ok, reply = pcall(self.serve or answer, self, head, body)
	if ok and not reply then ok, reply = pcall(answer, self, head, body) end
	if not ok then self.failures[#self.failures + 1] = tostring(reply) end
	client:write(ok and reply or loopback.reply("", nil, "500 Failed"))
end

--- Starts one.
-- @param name what its made-up keys come from
-- @param secret master secret (32 bytes)
-- @return member: wallet, identity, url; received (list of exchanges), held (the last connection that hangs),
--   records (by "app/key"), data
--   (what a snapshot holds), calls; failures (errors of its own); to be set: on_request(exchange) ->
--   inner answer or a raw HTTP answer, on_reply(envelope, exchange), serve(member, head, body) -> a raw HTTP answer or
--   nil, hangs (on /sync), away
function M.start(name, secret)
	local identity = crypto.made_up(name)
	local self = setmetatable({
		identity = identity, wallet = identity.wallet, secret = secret, received = {}, records = {}, data = {},
		failures = {}, calls = 0,
	}, Member)
	self.server = loopback.serve(function(client, bytes)
		local head, rest = bytes:match("^(.-\r\n\r\n)(.*)$")
		if not head or #rest < tonumber(M.header(head, "content-length") or 0) then return false end
		respond(self, client, head, rest)
		return true
	end)
	self.url = self.server.url
	return self
end

--- Whether a type of request came, and how often.
function Member:count(kind)
	local count = 0
	for _, exchange in ipairs(self.received) do
		if exchange.inner.type == kind then count = count + 1 end
	end
	return count
end

return M
