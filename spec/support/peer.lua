--- A member of the cluster that calls POST /sync of a node: proof of possession, envelope, HMAC, and
-- the check of the answer. Honest or hostile, as spec.support.app is.

local apps = require("spec.support.app")
local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local json = require("kms.base.json")

local M = {}

local Peer = setmetatable({}, { __index = apps.App })
Peer.__index = Peer

--- A member of the KMS application 49; register it with node:register{peer}.
-- @param name what its made-up keys come from
function M.new(node, name)
	local self = apps.with_identity(node, "49", crypto.made_up(name))
	self.domain, self.prefix, self.signature_header = "NovaKMS:Auth", "X-KMS-", "x-kms-peer-signature"
	return setmetatable(self, Peer)
end

--- Of spec.support.app: the HMAC over the envelope, once the peer has the secret.
-- @param o mac: false for none, or a text
function Peer:body_headers(headers, envelope, o)
	local mac = o.mac
	if mac == nil and self.master and envelope then
		mac = crypto.hmac(crypto.derive(self.master, "0", "sync_hmac_key"), json.encode(envelope))
	end
	if mac then headers[#headers + 1] = { "X-Sync-Signature", mac } end
end

--- Sends an inner request.
-- @param inner table; @param o what App:call takes, and mac
function Peer:sync(inner, o)
	local options = { method = "POST", target = "/sync", inner = inner }
	for name, value in pairs(o or {}) do options[name] = value end
	return self:call(options)
end

--- Asks for the master secret, with a scalar of its own.
function Peer:ask_secret(o)
	local scalar = crypto.made_up("ephemeral").scalar
	local response = self:sync({
		type = "master_secret_request", sender_wallet = self.wallet,
		ecdh_pubkey = crypto.hex(crypto.made_up("ephemeral").der),
	}, o)
	if response.status == 200 then response.secret = crypto.unseal(scalar, response.inner.sealed) end
	return response
end

--- Learns the master secret.
function Peer:join()
	local response = self:ask_secret()
	if response.status ~= 200 then error("no secret: " .. response.status .. " " .. response.body, 2) end
	self.master = response.secret
	return self
end

--- A record as it travels.
-- @param o clock (counter of this peer, 1; or a table), updated_at_ms (now), ttl_ms, tombstone
function Peer:record(app_id, key, value, o)
	o = o or {}
	local clock = type(o.clock) == "table" and o.clock or { [self.wallet] = o.clock or 1 }
	return {
		key = key, value = o.tombstone and cjson.null or crypto.hex(crypto.record(self.master, app_id, value)),
		version = clock, updated_at_ms = o.updated_at_ms or os.time() * 1000, ttl_ms = o.ttl_ms or 0,
		tombstone = o.tombstone or false,
	}
end

--- Sends records { [app_id] = list }.
function Peer:delta(data, o)
	return self:sync({ type = "delta", sender_wallet = self.wallet, data = data }, o)
end

--- Asks for everything.
function Peer:snapshot(o)
	return self:sync({ type = "snapshot_request", sender_wallet = self.wallet }, o)
end

return M
