--- A node of version 1 alone, as existing nodes are: no sessions, no `pop`, no features. It derives keys and nothing
-- else. Written from docs/protocol.md on spec.support.crypto; to be used within loopback.run.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local loopback = require("spec.support.loopback")

local M = {}

local NOT_FOUND = '{"code":"not_found","message":"no such route"}'
local APP_ID = 7

local function header(bytes, name)
	return bytes:match("\r\n" .. name:gsub("%-", "%%-") .. ": ([^\r]*)\r\n")
end

local function derive(self, bytes, body)
	local key = crypto.channel_key(self.identity.scalar, self.app_point)
	local inner = cjson.decode(assert(crypto.open(key, cjson.decode(body))))
	self.asked[#self.asked + 1] = inner
	local length = inner.length or 32
	local result = cjson.encode({
		app_id = APP_ID, path = inner.path, length = length, key = crypto.base64(("k"):rep(length)),
	})
	local answer = cjson.encode(crypto.seal(key, self.identity.der, result))
	local signature = crypto.sign(self.identity.wallet_key,
		("NovaKMS:Response:%s:%s"):format(header(bytes, "X-App-Signature"), self.identity.wallet))
	return loopback.reply(answer, "X-KMS-Response-Signature: " .. signature .. "\r\n")
end

local function answer(self, bytes, body)
	local path = bytes:match("^%u+ ([^ ?]+)")
	self.paths[#self.paths + 1] = path
	if path == "/nonce" then return loopback.reply(cjson.encode({ nonce = crypto.base64(crypto.random(16)) })) end
	if path == "/status" then
		local node = { tee_wallet = self.identity.wallet, tee_pubkey = crypto.hex(self.identity.der) }
		return loopback.reply(cjson.encode({ node = node }))
	end
	if path == "/kms/derive" then return derive(self, bytes, body) end
	return loopback.reply(NOT_FOUND, nil, "404 Not Found")
end

--- Starts one.
-- @param app_point  P-384 point of the application that it serves
-- @return self { url, identity, paths, asked (inner requests) }
function M.start(app_point)
	local self = { identity = crypto.made_up("a node of version 1"), app_point = app_point, paths = {}, asked = {} }
	self.url = loopback.serve(function(connection, bytes)
		local head, body = bytes:match("^(.-\r\n\r\n)(.*)$")
		if not head or #body < (tonumber(header(head, "Content-Length")) or 0) then return false end
		connection:write(answer(self, head, body))
		return true
	end).url
	return self
end

return M
