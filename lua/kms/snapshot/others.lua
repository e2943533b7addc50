--- The snapshots of other nodes, as a node that writes its own sees them: which are the newest, and which belong to
-- nobody any more.

local age = require("kms.snapshot.age")
local manifests = require("kms.snapshot.manifest")
local needs = require("kms.base.needs")
local pruning = require("kms.snapshot.pruning")

local M = {}

local Others = {}
Others.__index = Others

-- A wallet's newest manifest that opens. It is read again only when there is another one.
-- Returns { sequence, time } | false: none opens | nil, message.
local function newest_of(self, place, secret, wallet, listed)
	local last = listed.manifests[#listed.manifests]
	local known = self.seen[wallet]
	if known and known.secret == secret and known.last == last then return known.manifest end
	local manifest, message = manifests.newest(place, secret, wallet, listed, nil, function(sequence, why)
		self.log:limited("bad " .. wallet, 60, "warn", "another node's manifest does not open", {
			wallet = wallet, sequence = sequence, reason = why,
		})
	end)
	if manifest == nil then return nil, message end
	manifest = manifest and { sequence = manifest.sequence, time = manifest.time }
	self.seen[wallet] = { secret = secret, last = last, manifest = manifest }
	return manifest
end

--- The newest manifests of other nodes; yields.
-- @return wallet -> { sequence, time } | nil, message
function Others:newest(place, secret, listing)
	local newest, seen = {}, {}
	for wallet, listed in pairs(listing) do
		if wallet ~= self.wallet() then
			local manifest, message = newest_of(self, place, secret, wallet, listed)
			if manifest == nil then return nil, message end
			newest[wallet], seen[wallet] = manifest or nil, self.seen[wallet]
		end
	end
	self.seen = seen -- without wallets that are gone: whoever runs the place may show new ones each time
	return newest
end

-- Removes all files of a wallet. Returns true | nil, message.
local function remove(self, place, wallet, listed)
	self.log:info("sealed snapshots of a node that is no member are too old to be of use: removed", { wallet = wallet })
	for _, file in ipairs(pruning.all(listed)) do
		local ok, message = place:remove(wallet, file.sequence, file.kind)
		if not ok then return nil, message end
	end
	for _, name in ipairs(listed.unfinished) do place:remove_unfinished(wallet, name) end
	place:remove_wallet(wallet)
	self.seen[wallet] = nil
	return true
end

--- Removes what nodes left that are no members any more, once no restore would take it; yields.
-- @param newest_ms time of this node's newest manifest
-- @return true | nil, message
function Others:prune(place, secret, listing, newest_ms)
	local oldest_ms = age.oldest(newest_ms, self.retention_ms, self.skew_ms)
	for wallet, listed in pairs(listing) do
		if wallet ~= self.wallet() and not self.is_member(wallet) then
			local manifest, message = newest_of(self, place, secret, wallet, listed)
			if manifest == nil then return nil, message end
			local ok = true
			if manifest and manifest.time < oldest_ms then ok, message = remove(self, place, wallet, listed) end
			if not ok then return nil, message end
		end
	end
	return true
end

--- @param deps wallet (function -> this node's), is_member (function(wallet)), log, retention_ms, skew_ms
-- @return others
function M.new(deps)
	local self = needs.take(deps, "wallet is_member log retention_ms skew_ms")
	self.seen = {} -- by wallet of the place: { secret, last (newest sequence), manifest (or false) }
	return setmetatable(self, Others)
end

return M
