--- Which snapshots a restore takes: the newest of every wallet that are young enough, and only when none of them is
-- older than another node has seen it.

local age = require("kms.snapshot.age")
local manifests = require("kms.snapshot.manifest")

local M = {}

local Selection = {}
Selection.__index = Selection

--- What an operator can do about a refusal.
M.ADVICE = ": to go on with what there is, start with RESTORE_OLDER=true"

local function has_manifests(listing)
	for _, listed in pairs(listing) do
		if #listed.manifests > 0 then return true end
	end
	return false
end

-- The newest manifest of each wallet that opens.
-- Returns list of { wallet, manifest, listed }, newest first | nil, message.
local function newest_of_all(place, secret, listing, log)
	local found = {}
	for wallet, listed in pairs(listing) do
		local manifest, message = manifests.newest(place, secret, wallet, listed, nil, function(sequence, why)
			log:limited("bad " .. wallet, 60, "error", "a manifest of a sealed snapshot is not usable", {
				wallet = wallet, sequence = sequence, reason = why,
			})
		end)
		if manifest == nil then return nil, message end
		if manifest then found[#found + 1] = { wallet = wallet, manifest = manifest, listed = listed } end
	end
	table.sort(found, function(a, b)
		if a.manifest.time ~= b.manifest.time then return a.manifest.time > b.manifest.time end
		return a.wallet < b.wallet
	end)
	return found
end

-- The wallet whose newest manifest is older than the one that another manifest names, or is missing. What is too old to
-- be merged anyway does not count: members remove it.
-- @return wallet, the sequence that was seen, who saw it | nil
local function older_than_seen(found, oldest_ms)
	local newest = {}
	for _, chosen in ipairs(found) do newest[chosen.wallet] = chosen.manifest.sequence end
	for _, chosen in ipairs(found) do
		for wallet, seen in pairs(chosen.manifest.peers) do
			local is_young = seen.time >= oldest_ms
			if is_young and seen.sequence > (newest[wallet] or 0) then return wallet, seen.sequence, chosen.wallet end
		end
	end
	return nil
end

local function utc(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", seconds) end

-- Compares with the newest anchor on chain. Returns nothing | message, { anchored_time_ms, wallet, newest_time_ms }.
local function older_than_anchored(found, anchor)
	local newest = found[1]
	if newest and newest.manifest.time // 1000 >= anchor.time then return nil end
	local here = newest and ("the newest manifest is of %s (%s)"):format(utc(newest.manifest.time // 1000), newest.wallet)
		or "there is no manifest that opens"
	return ("%s, and %s has anchored one of %s on chain"):format(here, anchor.member, utc(anchor.time)), {
		anchored_time_ms = anchor.time * 1000, wallet = anchor.member, newest_time_ms = newest and newest.manifest.time,
	}
end

-- Whether what was found is as new as what the chain knows of. Returns true | nil, message, details.
local function check_anchor(found, options)
	local anchor, message = options.newest_anchor()
	if anchor == false then return true end
	local details
	if anchor then
		message, details = older_than_anchored(found, anchor)
		if not message then return true end
	end
	if not options.allow_older then return nil, anchor and message .. M.ADVICE or message, details end
	options.log:warn("restoring although the chain may know of a newer state, as RESTORE_OLDER=true says", {
		reason = message,
	})
	return true
end

--- A wallet's next older manifest that is young enough; yields.
-- @return manifest | false: there is none | nil, message
function Selection:older(place, secret, listed, manifest)
	local older, message = manifests.newest(place, secret, manifest.wallet, listed, manifest.sequence, self.on_bad)
	if older and older.time < self.oldest_ms then return false end
	return older, message
end

--- Chooses; yields.
-- @param options retention_ms, skew_ms, allow_older, log, newest_anchor (function -> as kms.snapshot.anchors:newest)
-- @return selection { wallets: list of { wallet, manifest, listed }, newest first } | nil, message, and where an anchor
--   on chain is newer: { anchored_time_ms, wallet (whose), newest_time_ms (nil: there is none) }
function M.choose(place, secret, options)
	local log = options.log
	local listing, message = place:list()
	if not listing then return nil, message end
	local found
	found, message = newest_of_all(place, secret, listing, log)
	if not found then return nil, message end
	local self = setmetatable({ wallets = {}, oldest_ms = 0 }, Selection)
	function self.on_bad(sequence, why)
		log:limited("bad", 60, "error", "a manifest of a sealed snapshot is not usable", {
			sequence = sequence, reason = why,
		})
	end
	if #found == 0 then
		if has_manifests(listing) and not options.allow_older then return nil, "no manifest is usable" .. M.ADVICE end
		local ok, failure, details = check_anchor(found, options)
		return ok and self, failure, details
	end
	local ok, details
	ok, message, details = check_anchor(found, options)
	if not ok then return nil, message, details end
	self.oldest_ms = age.oldest(found[1].manifest.time, options.retention_ms, options.skew_ms)
	local wallet, sequence, by = older_than_seen(found, self.oldest_ms)
	if wallet then
		local text = ("the newest manifest of %s is older than the one that %s has seen (%d)"):format(wallet, by, sequence)
		if not options.allow_older then return nil, text .. M.ADVICE end
		log:warn("restoring an older state, as RESTORE_OLDER=true says", { reason = text })
	end
	for _, chosen in ipairs(found) do
		if chosen.manifest.time >= self.oldest_ms then
			table.insert(self.wallets, chosen)
		else
			log:warn("a sealed snapshot is too old to be merged: it would bring deleted records back", {
				wallet = chosen.wallet, sequence = chosen.manifest.sequence,
			})
		end
	end
	return self
end

return M
