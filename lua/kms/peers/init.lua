--- The peers: the members of the KMS application as the chain lists them, and what this node has learned
-- about each from its own exchanges with it.

local announcements = require("kms.peers.announcements")
local liveness = require("kms.peers.liveness")
local membership = require("kms.peers.membership")
local native = require("kms_native")
local needs = require("kms.base.needs")

local M = {}

local Peers = {}
Peers.__index = Peers

local MAX_FORMER = 1000 -- former members that are remembered

-- The peer of a wallet, member or not. The store names the origin of a change by the peer's `number`, so a
-- number is never used for another wallet.
local function remember(self, wallet)
	local peer = self.known[wallet]
	if peer then return peer end
	self.last_number = self.last_number + 1
	peer = { wallet = wallet, number = self.last_number, failures = 0, retry_ms = 0, features = {} }
	peer.asks_first = wallet < self.tee.address
	self.known[wallet], self.known_count = peer, self.known_count + 1
	return peer
end

-- Drops all former members once there are too many.
local function forget_former(self)
	if self.known_count <= #self.members + MAX_FORMER then return end
	for wallet in pairs(self.known) do
		if not self.by_wallet[wallet] then self.known[wallet], self.known_count = nil, self.known_count - 1 end
	end
end

local function report_bad_url(self, peer, message)
	if peer.url_fault == peer.instance.url then return end
	peer.url_fault = peer.instance.url
	self:report(peer, "invalid_url", message)
end

-- Brings a peer up to date with its registration.
local function update(self, instance)
	local peer = remember(self, instance.wallet)
	if peer.instance and peer.instance.url ~= instance.url then peer.failures, peer.retry_ms = 0, 0 end
	local former = peer.point
	peer.instance, peer.point = instance, native.peer_point(instance.tee_pubkey)
	if peer.point ~= former then peer.had_session = nil end -- nothing that was recorded opens under another key
	local message
	peer.url, message = self.outbound:check(instance.url)
	if not peer.url and instance.wallet ~= self.tee.address then report_bad_url(self, peer, message) end
	return peer
end

-- Returns true | nil, message.
local function read_members(self)
	local members, by_wallet, kept_out = membership.all(self.chain, self.app_id)
	if not members then return nil, by_wallet end
	self.members, self.by_wallet, self.kept_out = members, by_wallet, kept_out
	local others = {}
	for _, instance in ipairs(members) do
		local peer = update(self, instance)
		if instance.wallet ~= self.tee.address then others[#others + 1] = peer end
	end
	self.other_members = others
	forget_former(self)
	return true
end

--- Reads the members from the chain, unless they were read and the chain says the same. On failure the old list stays.
-- @return true | nil, message
function Peers:refresh()
	local contents, message = self.chain:contents()
	if not contents then return nil, message end
	if contents == self.contents then return true end
	self.contents = nil
	local ok
	ok, message = read_members(self)
	if not ok then return nil, message end
	self.contents = contents
	return true
end

--- Instances of all members, this node included, in the order of the chain's list.
function Peers:list()
	return self.members
end

--- A member's instance by wallet, or nil.
function Peers:get(wallet)
	return self.by_wallet[wallet]
end

--- Reads from the newest block, past all caches, whether a wallet is a member.
-- @return its instance | nil: not a member | nil, message: the chain failed
function Peers:fresh(wallet)
	return membership.read(self.chain, self.app_id, wallet, { fresh = true })
end

--- The other members as peers, in the order of the chain's list.
-- @return list, which is not to be changed, of { wallet, number, instance, point (of its TEE key), url (nil: must not
--   be called), asks_first (whether its wallet is lower than this node's: kms.sync.contact), and what
--   kms.peers.liveness names }
function Peers:others()
	return self.other_members
end

--- A member as `others` lists it; nil when the wallet is no member or this node's own.
function Peers:peer(wallet)
	return self.by_wallet[wallet] and wallet ~= self.tee.address and self.known[wallet] or nil
end

--- Whether a wallet is of an instance of the KMS application that is no member now: a former one, or one that is on the
-- chain's list, but not verified or of a version that was revoked.
function Peers:is_kept_out(wallet)
	return self.kept_out[wallet] or self.known[wallet] ~= nil and not self.by_wallet[wallet]
end

--- Whether a peer may be called now: its URL is allowed and it is not banned.
function Peers:callable(peer, mono_ms)
	return peer.url ~= nil and not self.bans:calls(peer.wallet, mono_ms)
end

--- Records an authentic request of a peer (kms.peers.liveness).
function Peers:has_called(peer)
	liveness.has_called(peer, self.mono_ms())
	peer.last_ok_ms = self.wall_ms()
end

--- Records a refusal of a peer.
function Peers:alive(peer)
	liveness.has_refused(peer)
	peer.last_ok_ms = self.wall_ms()
end

--- Records a verified response of a peer.
function Peers:answered(peer)
	liveness.has_answered(peer, self.mono_ms())
	peer.last_ok_ms = self.wall_ms()
end

--- Records that a peer could not be reached: it is called again after backoff_ms.
function Peers:unreachable(peer)
	liveness.has_failed(peer)
	peer.retry_ms = self.mono_ms() + self.backoff_ms(peer)
	self:record(peer, "unreachable")
end

local function log_event(self, peer, event, cause, ban)
	self.log:warn("peer misbehaves", {
		peer = peer.wallet, what = event, cause = cause, banned_s = ban and (ban.until_ms - self.mono_ms()) // 1000,
		scope = ban and ban.scope,
	})
end

local function note_ban(self, peer, event, ban)
	local seconds = (ban.until_ms - ban.since_ms) // 1000
	self.audit:of_member("ban", peer.wallet, {
		peer = peer.wallet, cause = event, scope = ban.scope, rule = ban.rule, seconds = seconds,
	})
end

--- Records an event that may be harmless: it is logged only when it leads to a ban.
-- @param event its name (kms.policy.schema.EVENTS)
-- @param cause what happened, for the log
function Peers:record(peer, event, cause)
	local now = self.mono_ms()
	local ban = self.bans:record(peer.wallet, event, now, { url = peer.url })
	if not ban or ban.since_ms ~= now then return end
	log_event(self, peer, event, cause, ban)
	note_ban(self, peer, event, ban)
end

--- Records misbehaviour: it is always logged.
-- @param event its name (kms.policy.schema.EVENTS)
-- @param cause what happened, for the log
function Peers:report(peer, event, cause)
	local now = self.mono_ms()
	local ban = self.bans:record(peer.wallet, event, now, { url = peer.url })
	log_event(self, peer, event, cause, ban)
	if ban and ban.since_ms == now then note_ban(self, peer, event, ban) end
end

--- Records that a peer's response was what it should be.
function Peers:trusted(peer)
	self.bans:end_row(peer.wallet)
end

--- Records what a peer announced in an authentic message (kms.peers.announcements).
-- @return whether the peer has restarted and holds nothing of what it acknowledged
function Peers:announced(peer, features, store, is_bound)
	return announcements.note(peer, features, store, is_bound, self.mono_ms())
end

--- Whether a peer has sessions: it has announced them within a day, or one was opened under its registered key
-- (`had_session`). Then it is not spoken to in version 1, which somebody on the way could bring about, unless it says
-- itself that it has none.
function Peers:has_sessions(peer)
	return peer.had_session == true or self:understands(peer, "session")
end

--- Whether a peer has announced a feature (kms.peers.features) within a day.
function Peers:understands(peer, feature)
	return announcements.understands(peer, feature, self.mono_ms())
end

--- Whether this node knows which features a peer has. A peer that was silent for a day would be taken for an
-- existing node, and records that are too large for existing nodes would be skipped.
function Peers:is_known(peer)
	return announcements.is_known(peer, self.mono_ms())
end

--- Whether another member is known to be an existing node. Among them, a node of whose earlier runs nobody holds
-- anything counts its versions from 1 as they do (docs/protocol.md section 8).
function Peers:has_existing()
	for _, peer in ipairs(self:others()) do
		if self:is_known(peer) and not self:understands(peer, "store") then return true end
	end
	return false
end

--- State of a wallet for /status and /nodes.
-- @return "self"; "banned", the event, the seconds left; or as kms.peers.liveness.state
function Peers:state(wallet)
	if wallet == self.tee.address then return "self" end
	local now = self.mono_ms()
	local ban = self.bans:calls(wallet, now)
	if ban then return "banned", ban.event, (ban.until_ms - now + 999) // 1000 end
	return liveness.state(self.known[wallet], now, self.interval_ms())
end

--- @param deps chain; app_id (KMS_APP_ID, decimal text); tee (field address: this node's wallet); outbound
--   (kms.peers.outbound); bans (kms.peers.bans); backoff_ms (function(peer) -> ms until a peer that failed is called
--   again); interval_ms (function -> ms between two pushes); log; mono_ms and wall_ms (clocks); audit (kms.audit)
function M.new(deps)
	local self = needs.take(deps, "chain app_id tee outbound bans backoff_ms interval_ms log mono_ms wall_ms audit")
	-- Instances of members, as a list and by wallet; by each wallet of the chain's list whether it is no member's;
	-- peers, as a list without former members, and by wallet with them.
	self.members, self.by_wallet, self.kept_out, self.other_members, self.known = {}, {}, {}, {}, {}
	self.known_count, self.last_number = 0, 0
	return setmetatable(self, Peers)
end

return M
