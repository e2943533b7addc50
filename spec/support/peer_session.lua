--- Sessions of a member (spec.support.peer) with a node, honest or hostile, on spec.support.session_client.

local cjson = require("cjson")
local crypto = require("spec.support.crypto")
local sessions = require("spec.support.session_client")

local M = {}

local DOMAIN = "NovaKMS:PeerSession"

local function as_member(o)
	local all = { domain = DOMAIN }
	for name, value in pairs(o or {}) do all[name] = value end
	return all
end

--- Sends an opening, as session_client.request does.
function M.request(peer, o)
	return sessions.request(peer, as_member(o))
end

--- The member `mac` of a message.
-- @param o salt, seq, master: those of another message
function M.mac(session, seq, o)
	o = o or {}
	local key = crypto.derive(o.master or session.app.master, "0", "sync_hmac_key")
	return crypto.hmac(key, "nova-kms:session-mac:" .. (o.salt or session.opening.salt) .. (">I8"):pack(o.seq or seq))
end

-- Sends an inner message: its answer must be a sealed one.
-- o: mac (a text, or false for none), and what session_client's exchange takes
local function sync(session, inner, o)
	o = o or {}
	local sent = {}
	for name, value in pairs(inner) do sent[name] = value end
	local seq = o.seq
	if not seq then
		session.seq = session.seq + 1
		seq = session.seq
	end
	if o.mac then sent.mac = o.mac elseif o.mac == nil then sent.mac = M.mac(session, seq) end
	local options = { seq = seq }
	for _, name in ipairs({ "time_ms", "conn", "content" }) do options[name] = o[name] end
	local text, time_ms = session:exchange(o.json or cjson.encode(sent), options)
	return cjson.decode(text), time_ms
end

--- Opens a session; throws where the node refuses.
-- @return session of session_client, with sync(session, inner, o) -> answer
function M.open(peer, o)
	local session = sessions.open(peer, as_member(o))
	session.sync = sync
	return session
end

--- A record as it travels in a session.
-- @param o as spec.support.peer's record
function M.record(peer, app_id, key, value, o)
	local record = peer:record(app_id, key, value, o)
	if type(record.value) == "string" then record.value = crypto.base64(crypto.unhex(record.value)) end
	return record
end

return M
