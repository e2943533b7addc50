--- What a peer announces in its messages, noted in its record of kms.peers: the features and the store that it named.

local M = {}

local MEMORY_MS = 24 * 3600 * 1000 -- announced features are believed for a day
local GREET_AGAIN_MS = 23 * 3600 * 1000 -- a peer is asked again before that day is over

--- Notes what an authentic message says. Short messages of this version's nodes name a store and no features: they say
-- nothing about these, least of all that the peer is an existing node.
-- @param features set of names
-- @param store id of its store, or nil
-- @param is_bound whether the message is provably of this exchange: what it lacks, its sender has not
-- @param now monotonic ms
-- @return whether the store is another one than before
function M.note(peer, features, store, is_bound, now)
	local is_met = peer.heard == true or peer.store ~= nil
	local restarted = store ~= nil and is_met and peer.store ~= store
	peer.store = store or peer.store
	local forgotten = not store and peer.features_ms and now - peer.features_ms >= MEMORY_MS
	if next(features) or forgotten then peer.features, peer.features_ms = features, now end
	peer.heard = not store or next(peer.features) ~= nil
	if is_bound and next(features) and not features.session then peer.had_session = nil end
	return restarted
end

--- Whether a peer has announced a feature (kms.peers.features) within a day.
function M.understands(peer, feature, now)
	return peer.features[feature] == true and now - peer.features_ms < MEMORY_MS
end

--- Whether it is known which features a peer has.
function M.is_known(peer, now)
	if not peer.heard then return false end
	return next(peer.features) == nil or now - peer.features_ms < GREET_AGAIN_MS
end

return M
