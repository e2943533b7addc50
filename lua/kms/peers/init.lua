--- The peer cache: members of the KMS application as the chain lists them, and what this node
-- knows of each from its own dealings with it.

local chain_api = require("kms.chain")
local native = require("kms_native")

local M = {}

local Peers = {}
Peers.__index = Peers

local MAX_STRANGERS = 1000 -- wallets that were members and are none now
local FEATURE_MEMORY_MS = 24 * 3600 * 1000 -- for a day after it last showed what it understands
local GREET_AGAIN_MS = 23 * 3600 * 1000 -- asked again before that is over

local function usable_version(version)
	return version.status == chain_api.VERSION.ENROLLED or version.status == chain_api.VERSION.DEPRECATED
end

-- A member that counts, or nil: not now a member. A failure of the chain is nil, message.
local function member(self, wallet, options)
	local instance, message, code = self.chain:instance_by_wallet(wallet, options)
	if not instance then return nil, code ~= "ERR_NOT_FOUND" and message or nil end
	if instance.app_id ~= self.app_id or instance.status ~= chain_api.INSTANCE.ACTIVE then return nil end
	if not instance.zk_verified or not native.peer_point(instance.tee_pubkey) then return nil end
	local version
	version, message, code = self.chain:version(instance.app_id, instance.version_id, options)
	if not version then return nil, code ~= "ERR_NOT_FOUND" and message or nil end
	return usable_version(version) and instance or nil
end

-- What this node remembers of a wallet, whether or not it is a member now. `number` says in the
-- store whom a change came from, so it is never used for another wallet.
local function remember(self, wallet)
	local peer = self.known[wallet]
	if peer then return peer end
	self.last_number = self.last_number + 1
	peer = { wallet = wallet, number = self.last_number, failures = 0, retry_ms = 0, features = {} }
	self.known[wallet], self.known_count = peer, self.known_count + 1
	return peer
end

-- Members come and go; what is known of those that went is bounded.
local function forget_strangers(self)
	if self.known_count <= #self.members + MAX_STRANGERS then return end
	for wallet in pairs(self.known) do
		if not self.by_wallet[wallet] then self.known[wallet], self.known_count = nil, self.known_count - 1 end
	end
end

local function report_bad_url(self, peer, message)
	if peer.url_fault == peer.instance.url then return end
	peer.url_fault = peer.instance.url
	self:report(peer, "invalid_url", message)
end

-- A member as a peer of this node, with what the chain says of it now.
local function update(self, instance)
	local peer = remember(self, instance.wallet)
	if peer.instance and peer.instance.url ~= instance.url then peer.failures, peer.retry_ms = 0, 0 end
	peer.instance, peer.point = instance, native.peer_point(instance.tee_pubkey)
	local message
	peer.url, message = self.egress:check(instance.url)
	if not peer.url and instance.wallet ~= self.own then report_bad_url(self, peer, message) end
	return peer
end

--- Reads the members anew; on failure the old list stays.
-- @return true | nil, message
function Peers:refresh()
	local wallets, message = self.chain:active_instances(self.app_id)
	if not wallets then return nil, message end
	local members, by_wallet = {}, {}
	for _, wallet in ipairs(wallets) do
		local instance, failure = member(self, wallet)
		if failure then return nil, failure end
		if instance and not by_wallet[wallet] then
			members[#members + 1] = instance
			by_wallet[wallet] = instance
		end
	end
	self.members, self.by_wallet = members, by_wallet
	for _, instance in ipairs(members) do update(self, instance) end
	forget_strangers(self)
	return true
end

--- Members in the order of the chain's list, this node among them.
function Peers:list()
	return self.members
end

--- A member's instance by wallet, or nil.
function Peers:get(wallet)
	return self.by_wallet[wallet]
end

--- Whether a wallet is a member at a block of now, past every cache.
-- @return its instance | nil, message (nil: the chain says no)
function Peers:fresh(wallet)
	return member(self, wallet, { fresh = true })
end

--- The other members, each { wallet, number, instance, point, url (nil: not one to call) }.
function Peers:others()
	local list = {}
	for _, instance in ipairs(self.members) do
		if instance.wallet ~= self.own then list[#list + 1] = self.known[instance.wallet] end
	end
	return list
end

--- A member as `others` gives it, or nil: no member, or this node itself.
function Peers:peer(wallet)
	return self.by_wallet[wallet] and wallet ~= self.own and self.known[wallet] or nil
end

--- Whether a peer is one to call now.
function Peers:callable(peer, mono_ms)
	return peer.url ~= nil and not self.bans:calls(peer.wallet, mono_ms)
end

--- Notes that a peer answered, or was heard: there is nothing to wait for any more.
function Peers:reached(peer)
	peer.reachable, peer.failures, peer.retry_ms, peer.last_ok_ms = true, 0, 0, self.wall_ms()
end

--- Notes that a peer could not be reached: it is asked again later, each time later than before.
function Peers:unreachable(peer)
	peer.reachable = false
	peer.failures = peer.failures + 1
	peer.retry_ms = self.mono_ms() + self.backoff_ms(peer)
	self:record(peer, "unreachable")
end

local function log_event(self, peer, event, cause, ban)
	self.log:warn("peer misbehaves", {
		peer = peer.wallet, what = event, cause = cause, banned_s = ban and (ban.until_ms - self.mono_ms()) // 1000,
		scope = ban and ban.scope,
	})
end

--- Records what may be misbehaviour: it is logged only when a rule of the operator bans for it.
-- @param cause what happened, for the log
function Peers:record(peer, event, cause)
	local now = self.mono_ms()
	local ban = self.bans:record(peer.wallet, event, now, { url = peer.url })
	if ban and ban.since_ms == now then log_event(self, peer, event, cause, ban) end
end

--- Reports misbehaviour (kms.peers.bans): it is always logged.
-- @param cause what happened, for the log
function Peers:report(peer, event, cause)
	log_event(self, peer, event, cause, self.bans:record(peer.wallet, event, self.mono_ms(), { url = peer.url }))
end

--- Notes what a peer announced in a message that is authentic.
-- @param features set of names; @param store id of its store, or nil
-- @return whether it shows another store than before, or one where it had no name: it has started anew
function Peers:announced(peer, features, store)
	local now = self.mono_ms()
	local forgotten = peer.features_ms and now - peer.features_ms >= FEATURE_MEMORY_MS
	if next(features) or forgotten then peer.features, peer.features_ms = features, now end
	local anew = store ~= nil and peer.heard == true and peer.store ~= store
	peer.store, peer.heard = store or peer.store, true
	return anew
end

--- Whether a peer understands a feature, by what it announced within a day.
function Peers:understands(peer, feature)
	return peer.features[feature] == true and self.mono_ms() - peer.features_ms < FEATURE_MEMORY_MS
end

--- Whether what a peer is need not be asked. One that says nothing for a day would be taken for an
-- existing node, and records that are too large for those be passed over.
function Peers:is_known(peer)
	if not peer.heard then return false end
	return next(peer.features) == nil or self.mono_ms() - peer.features_ms < GREET_AGAIN_MS
end

--- "self", "banned", "unreachable", "ok" or "unknown", and of a ban why and for how many seconds more.
function Peers:state(wallet)
	if wallet == self.own then return "self" end
	local now = self.mono_ms()
	local ban = self.bans:calls(wallet, now)
	if ban then return "banned", ban.event, (ban.until_ms - now + 999) // 1000 end
	local peer = self.known[wallet]
	if not peer or peer.reachable == nil then return "unknown" end
	return peer.reachable and "ok" or "unreachable"
end

--- @param deps chain, app_id (KMS_APP_ID as decimal text), own (wallet), egress, log, mono_ms,
-- wall_ms, bans (kms.peers.bans), backoff_ms (function(peer): how long until it is tried again)
function M.new(deps)
	return setmetatable({
		chain = deps.chain, app_id = deps.app_id, own = deps.own, egress = deps.egress, log = deps.log,
		mono_ms = deps.mono_ms, wall_ms = deps.wall_ms, bans = deps.bans, backoff_ms = deps.backoff_ms,
		members = {}, by_wallet = {}, known = {}, known_count = 0, last_number = 0,
	}, Peers)
end

return M
